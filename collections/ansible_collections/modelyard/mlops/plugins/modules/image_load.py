#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
# Apache-2.0 is compatible with the GNU General Public License v3.0, under which Ansible itself is.
"""Load an image whose chunks have arrived on this host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_load
short_description: Load an image whose chunks have arrived on this host
description:
  - The last step of M(modelyard.mlops.image_transfer). It streams the chunks into the engine as one archive, proves
    that the image which came out has the wanted key, and points the name to it, in this order.
  - An image that is not the wanted one is removed and never gets the name.
  - What can be mended by sending more is an answer (RV(outcome)) and no failure.
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
extends_documentation_fragment:
  - modelyard.mlops.attributes
  - modelyard.mlops.images
attributes:
  check_mode:
    support: full
    details: Says whether the image would be loaded or the name moved.
  diff_mode:
    support: none
    details: There is nothing to show.
  idempotent:
    support: full
options:
  name:
    description: The reference that the image gets.
    type: str
    required: true
  key:
    description: The image's key, which is the digest of its configuration.
    type: str
    required: true
  layers:
    description: The digests of all layers of the image, the lowest first.
    type: list
    elements: str
    required: true
  os:
    description: The image's operating system.
    type: str
    required: true
  architecture:
    description: The image's architecture.
    type: str
    required: true
  blobs:
    description:
      - What has been sent, which is the configuration and the layers that the host does not have. Empty when the image
        is here and only its name is to be moved.
    type: list
    elements: dict
    default: []
    suboptions:
      digest:
        description: The digest of the uncompressed content.
        type: str
        required: true
      size:
        description: Its bytes.
        type: int
        required: true
      chunks:
        description: The digests of its chunks in their order.
        type: list
        elements: str
        required: true
  bytes_sent:
    description: The bytes that the transfer has put on the connection. For its figures, as the next two.
    type: int
    default: 0
  bytes_skipped:
    description: The uncompressed bytes that did not have to travel.
    type: int
    default: 0
  seconds:
    description: How long the transfer has taken up to now.
    type: float
    default: 0.0
"""

EXAMPLES = r"""
- name: Point a name to an image that the host has
  modelyard.mlops.image_load:
    name: modelyard/iris-api:3f2a1c9
    key: sha256:0f0c1c6b3a5d0b1f3f2a1c9d0f0c1c6b3a5d0b1f3f2a1c9d0f0c1c6b3a5d0b1f
    layers: ["sha256:9c1b6dd6c1e6be9fdd2b1987783824670d3b0dd7ae8ad6f57dc3cea5739ac71e"]
    os: linux
    architecture: amd64
"""

RETURN = r"""
outcome:
  description:
    - V(loaded), or V(present) when the image was here already.
    - V(missing) or V(corrupt) when RV(chunks) have to be sent again.
    - V(interrupted) when the engine went away meanwhile.
    - V(refused) when the engine did not take an archive without the layers that it was believed to have.
  returned: always
  type: str
chunks:
  description: The chunks that have to be sent again.
  returned: always
  type: list
  elements: str
reason:
  description: What the engine said when it refused.
  returned: always
  type: str
id:
  description: The engine's own ID of the image.
  returned: when the image is here
  type: str
"""

import time
import typing as t
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.modelyard.mlops.plugins.module_utils.engine import Engine, EngineError, EngineUnreachable
from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import ImageError, split_reference
from ansible_collections.modelyard.mlops.plugins.module_utils.image_loader import Loader, LoadFailed, answer
from ansible_collections.modelyard.mlops.plugins.module_utils.image_options import PLACE
from ansible_collections.modelyard.mlops.plugins.module_utils.image_pack import Staging
from ansible_collections.modelyard.mlops.plugins.module_utils.image_target import Target
from ansible_collections.modelyard.mlops.plugins.module_utils.textfile import Metric, publish, render


def bring(target: Target, staging: Staging, wanted: dict[str, t.Any]) -> dict[str, t.Any]:
    """Load an image and show what its transfer took; returns the module's answer."""
    began = time.monotonic()
    # Two controllers may bring the same image; the second then finds it here.
    with staging.locked():
        done = Loader(target, staging, wanted).run()
    if done["changed"]:
        # By repository: a tag names a commit, and each would leave figures behind.
        repository = split_reference(wanted["name"])[0]
        text = figures(repository, wanted, wanted["seconds"] + time.monotonic() - began)
        done["warning"] = publish(f"modelyard_image_{quote(repository, safe='')}", text)
    return done


def figures(repository: str, wanted: dict[str, t.Any], seconds: float) -> str:
    """What the transfer of an image took, in the text format of Prometheus."""
    values = {
        "bytes_sent": ("Bytes that the last transfer put on the connection.", wanted["bytes_sent"]),
        "bytes_skipped": ("Uncompressed bytes that did not have to travel.", wanted["bytes_skipped"]),
        "duration_seconds": ("How long the last transfer took.", round(seconds, 3)),
        "finished_timestamp_seconds": ("When the last transfer ended.", round(time.time(), 3)),
    }
    labels = {"image": repository}
    return render(
        Metric(f"modelyard_image_transfer_{name}", "gauge", text, [(labels, value)])
        for name, (text, value) in values.items()
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "key": {"type": "str", "required": True, "no_log": False},
            "layers": {"type": "list", "elements": "str", "required": True},
            "os": {"type": "str", "required": True},
            "architecture": {"type": "str", "required": True},
            "blobs": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "digest": {"type": "str", "required": True},
                    "size": {"type": "int", "required": True},
                    "chunks": {"type": "list", "elements": "str", "required": True},
                },
            },
            "bytes_sent": {"type": "int", "default": 0},
            "bytes_skipped": {"type": "int", "default": 0},
            "seconds": {"type": "float", "default": 0.0},
            **PLACE,
        },
        supports_check_mode=True,
    )
    staging = Staging(module.params["staging"])
    try:
        target = Target(Engine(module.params["engine_socket"]), staging.records)
        if module.check_mode:
            here = target.find(module.params["key"]) is not None
            named = target.key_at(module.params["name"]) == module.params["key"]
            module.exit_json(changed=not named, **answer("present" if here else "loaded"))
        done = bring(target, staging, module.params)
    except (LoadFailed, ImageError, EngineError, EngineUnreachable) as error:
        module.fail_json(msg=str(error))
    warning = done.pop("warning", "")
    if warning:
        module.warn(warning)
    module.exit_json(**done)


if __name__ == "__main__":
    main()
