# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Print lines as they are, once for all hosts: a table stays one, whatever the callback makes of results."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()


class ActionModule(ActionBase):
    """Needs no host at all."""

    BYPASS_HOST_LOOP = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Print them."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        lines = {"type": "list", "elements": "str", "required": True}
        _unused, arguments = self.validate_argument_spec(  # type: ignore[no-untyped-call]
            argument_spec={"lines": lines}
        )
        display.display("\n".join(arguments["lines"]))
        return {**result, "changed": False}
