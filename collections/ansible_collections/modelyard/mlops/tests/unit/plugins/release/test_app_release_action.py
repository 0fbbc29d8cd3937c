# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""app_release on the controller: it shows each step once, and its result is the host's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase

from ansible_collections.modelyard.mlops.plugins.action import app_release
from ansible_collections.modelyard.mlops.plugins.action.app_release import ActionModule

OPTIONS = {"name": "demo", "image": "app:1"}


def progress(seen: int, *events: tuple[float, str]) -> dict[str, Any]:
    told = [{"seconds": seconds, "text": text} for seconds, text in events]
    return {"events": told, "follow": "run", "seen": seen}


def run(monkeypatch: pytest.MonkeyPatch, *answers: dict[str, Any]) -> tuple[dict[str, Any], list[Any], list[str]]:
    """The result, what the host was asked, and what was shown."""
    left = iter(answers)
    asked: list[Any] = []
    shown: list[str] = []

    def execute(_self: Any, _name: str, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        asked.append(arguments)
        return dict(next(left))

    monkeypatch.setattr(ActionModule, "_execute_module", execute)
    monkeypatch.setattr(ActionBase, "run", lambda *_: {})
    monkeypatch.setattr(app_release, "display", SimpleNamespace(display=shown.append))
    action: Any = ActionModule.__new__(ActionModule)
    action._task = SimpleNamespace(args=OPTIONS)
    return action.run(task_vars={"inventory_hostname": "one"}), asked, shown


def test_nothing_to_do_is_one_question_and_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"changed": False, "msg": "demo: release 1 serves"}
    assert run(monkeypatch, answer) == (answer, [OPTIONS], [])


def test_steps_are_shown_as_they_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    result, asked, shown = run(
        monkeypatch,
        {"changed": True, "progress": progress(1, (0.1, "start"))},
        {"changed": True, "progress": progress(1)},
        {"changed": True, "msg": "done", "progress": progress(3, (1.2, "gate"), (12.0, "release 2 serves"))},
    )
    assert result == {"changed": True, "msg": "done"}
    assert asked == [OPTIONS, {**OPTIONS, "follow": "run", "seen": 1}, {**OPTIONS, "follow": "run", "seen": 1}]
    assert shown == ["[one] demo    0.1 s  start", "[one] demo    1.2 s  gate", "[one] demo   12.0 s  release 2 serves"]


def test_failure_and_lost_connection_are_results(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = {"changed": True, "progress": progress(1, (0.1, "start"))}
    failed = {"failed": True, "msg": "refused", "progress": progress(2, (0.2, "gate"))}
    assert run(monkeypatch, begun, failed)[0] == {"failed": True, "msg": "refused"}
    lost = {"unreachable": True, "msg": "no route to host"}
    assert run(monkeypatch, begun, lost)[0] == lost
