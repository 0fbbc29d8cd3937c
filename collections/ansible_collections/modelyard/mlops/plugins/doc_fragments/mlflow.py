# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Option texts that the modules of the MLflow server share."""

from __future__ import annotations


class ModuleDocFragment:
    """The fragment."""

    # What a server that is started again may take, and who starts it.
    DOCUMENTATION = r"""
options:
  start_timeout:
    description: Seconds that the server may take until it answers.
    type: int
    default: 300
  upgrade_timeout:
    description: Seconds that MLflow may take to upgrade the schema.
    type: int
    default: 3600
  socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
"""
