# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Options that the modules of images share; the documentation fragment `images` has their texts."""

from __future__ import annotations

import typing as t

Options = dict[str, t.Any]

# Where a host's images are, and where they arrive.
PLACE: Options = {
    "engine_socket": {"type": "path", "default": "/var/run/docker.sock"},
    "staging": {"type": "path", "default": "/var/lib/modelyard/images/staging"},
}

# Which images a host has to have, and which others stay.
HOUSE: Options = {
    "images": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "key": {"type": "str", "required": True, "no_log": False},
        },
    },
    "keep": {"type": "int", "default": 3},
    "apps": {"type": "path", "default": "/var/lib/modelyard/apps"},
}
