# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Option texts that the modules of images share."""

from __future__ import annotations


class ModuleDocFragment:
    """The fragments."""

    # Where a host's images are, and where they arrive.
    DOCUMENTATION = r"""
options:
  engine_socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
  staging:
    description: The folder in which chunks arrive; next to it is recorded what was brought.
    type: path
    default: /var/lib/modelyard/images/staging
"""

    # Which images a host has to have, and which others stay.
    HOUSE = r"""
options:
  images:
    description: The images that the host has to have.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The reference that the image has to have on the host.
        type: str
        required: true
      key:
        description: The image's key, which is the digest of its configuration.
        type: str
        required: true
  keep:
    description: How many images of each repository stay, with those of O(images) that are still to come.
    type: int
    default: 3
  apps:
    description: The folder in which the releases of apps are recorded.
    type: path
    default: /var/lib/modelyard/apps
"""
