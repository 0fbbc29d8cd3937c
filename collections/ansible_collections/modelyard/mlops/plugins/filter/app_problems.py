# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Find what is wrong with the options of apps, before any of them is touched."""

from __future__ import annotations

import typing as t

from ansible_collections.modelyard.mlops.plugins.module_utils.release_options import apps_problems

DOCUMENTATION = r"""
name: app_problems
short_description: Find what is wrong with the options of apps, before any of them is touched
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
description:
  - Looks at each app's name, image, slots, memory, port, processors, user and names of secrets, with the same rules as
    M(modelyard.mlops.app_release) has.
positional: variable
options:
  _input:
    description: The apps, as in C(app_deploy_apps).
    type: list
    elements: dict
    required: true
  variable:
    description: The variable that the apps are in, for the messages.
    type: str
    default: app_deploy_apps
"""

EXAMPLES = r"""
problems: "{{ [{'name': 'shop', 'slots': [18081, 18082], 'memory': 'lots'}] | modelyard.mlops.app_problems }}"
# => ["app_deploy_apps: shop: memory: 'lots' is no size: write a number and k, m or g, such as 512m"]
"""

RETURN = r"""
_value:
  description: The messages, each with the names of the variable, the app and the option. Empty if all is right.
  type: list
  elements: str
"""


def app_problems(apps: t.Sequence[t.Mapping[str, t.Any]], variable: str = "app_deploy_apps") -> list[str]:
    """All that is wrong."""
    return apps_problems(variable, apps)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"app_problems": app_problems}
