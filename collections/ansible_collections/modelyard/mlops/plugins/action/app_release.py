# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The controller's part of the module app_release: it shows how the run on the host goes."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

_MODULE = "modelyard.mlops.app_release"

display = Display()


class ActionModule(ActionBase):
    """One task for the user; one short module run for each piece of news."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Ask the host until the run has ended."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        label = f"[{variables.get('inventory_hostname', '')}] {self._task.args.get('name')}"
        result = self._module(self._task.args, variables)
        while progress := result.pop("progress", None):
            for event in progress["events"]:
                display.display(f"{label} {event['seconds']:6.1f} s  {event['text']}")
            if "msg" in result:
                break
            more = {"follow": progress["follow"], "seen": progress["seen"]}
            result = self._module({**self._task.args, **more}, variables)
        return result

    def _module(self, arguments: dict[str, t.Any], variables: dict[str, t.Any]) -> dict[str, t.Any]:
        return t.cast(dict[str, t.Any], self._execute_module(_MODULE, arguments, task_vars=variables))
