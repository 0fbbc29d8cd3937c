# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The controller's part of the module training_run: it waits for the run in steps, and shows how it goes."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

_MODULE = "modelyard.mlops.training_run"

display = Display()


class ActionModule(ActionBase):
    """One task for the user; one short module run for each step."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Ask the host until the run has ended."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        begun = step = self._step(self._task.args, variables)
        while "progress" in step:
            label = f"[{variables.get('inventory_hostname', '')}] training {self._task.args.get('name')}"
            display.display(f"{label}: {step['seconds']:.0f} s: {step['progress']}")
            step = self._step({**self._task.args, "follow": begun["key"]}, variables)
        if step.get("failed"):
            return step
        # Why it ran, and with what, only its first step could tell.
        return {**step, "reason": begun.get("reason", ""), "diff": begun.get("diff", {})}

    def _step(self, arguments: dict[str, t.Any], variables: dict[str, t.Any]) -> dict[str, t.Any]:
        return t.cast(dict[str, t.Any], self._execute_module(_MODULE, arguments, task_vars=variables))
