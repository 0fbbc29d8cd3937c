# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""app_release's entry point: what begins, what is heard of it, and how each ending is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils import detached
from ansible_collections.modelyard.mlops.plugins.module_utils.detached import Event, Report
from ansible_collections.modelyard.mlops.plugins.module_utils.release import ReleaseError
from ansible_collections.modelyard.mlops.plugins.modules import app_release, app_release_info
from ansible_collections.modelyard.mlops.tests.unit.plugins.running import run_module

ENDING = {"app": "shop", "action": "deployed", "reason": "release 2 serves", "recovered": "", "changed": True}


class FakeApp:
    """An app that plans what the test says; `problem` is raised instead."""

    planned: tuple[dict[str, Any], bool] = ({**ENDING, "action": "none", "changed": False}, False)
    problem: Exception | None = None
    unpublished = ""

    def __init__(self, options: dict[str, Any], check: bool) -> None:
        """Take what an app takes."""

    def plan(self) -> tuple[dict[str, Any], bool]:
        if self.problem is not None:
            raise self.problem
        return self.planned

    def publish(self) -> str:
        return self.unpublished

    def run(self, tell: Callable[[str], None]) -> dict[str, Any]:
        raise AssertionError("runs in a process of its own")


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> type[FakeApp]:
    class App(FakeApp):
        """A test's own."""

    monkeypatch.setattr(app_release, "App", App)
    monkeypatch.setattr(detached, "start", lambda work: "run-1")
    return App


def hears(monkeypatch: pytest.MonkeyPatch, report: Report) -> None:
    monkeypatch.setattr(detached, "follow", lambda run, seen: report)


def run(**options: Any) -> dict[str, Any]:
    return run_module(app_release.main, {"name": "shop", **options})


def test_nothing_to_do_begins_nothing_and_says_what_could_not_be_published(app: type[FakeApp]) -> None:
    app.unpublished = "no figures: read-only"
    said = run()
    assert said["changed"] is False
    assert said["msg"] == "shop: release 2 serves"
    assert said["warnings"] == ["no figures: read-only"]


def test_a_preview_begins_nothing(app: type[FakeApp]) -> None:
    app.planned = (ENDING, True)
    app.unpublished = "never asked"
    said = run(_ansible_check_mode=True)
    assert said["changed"] is True
    assert "progress" not in said
    assert not said.get("warnings")


def test_what_begins_is_followed(app: type[FakeApp], monkeypatch: pytest.MonkeyPatch) -> None:
    app.planned = (ENDING, True)
    hears(monkeypatch, Report([Event(0.1, "starts")], over=False, result=None))
    assert run()["progress"] == {"events": [{"seconds": 0.1, "text": "starts"}], "follow": "run-1", "seen": 1}


def test_the_end_of_a_run_is_the_tasks(app: type[FakeApp], monkeypatch: pytest.MonkeyPatch) -> None:
    held = {**ENDING, "action": "held", "warnings": ["little disk"], "reason": "it was rolled back"}
    hears(monkeypatch, Report([], over=True, result=held))
    said = run(follow="run-1", seen=3)
    assert said["progress"]["seen"] == 3
    assert said["warnings"] == ["little disk", "shop: it was rolled back"]


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (None, "shop: the run on this host died. Run again: that ends what it began"),
        ({"failed": True, "msg": "shop: not ready"}, "shop: not ready"),
    ],
)
def test_a_run_that_ends_badly_fails_the_task(
    result: dict[str, Any] | None, words: str, app: type[FakeApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    hears(monkeypatch, Report([], over=True, result=result))
    said = run(follow="run-1")
    assert said["failed"]
    assert said["msg"] == words


@pytest.mark.parametrize("problem", [ReleaseError("image: the host does not have it"), OSError("disk full")])
def test_what_cannot_be_planned_is_said_with_the_apps_name(problem: Exception, app: type[FakeApp]) -> None:
    app.problem = problem
    assert run()["msg"] == f"shop: {problem}"


def test_a_ledger_that_cannot_be_read_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable() -> list[str]:
        raise ReleaseError("ledger.json: not JSON")

    monkeypatch.setattr(app_release_info, "known_apps", unreadable)
    assert run_module(app_release_info.main, {})["msg"] == "ledger.json: not JSON"


def test_a_host_without_apps_has_none_to_tell_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_release_info, "known_apps", list)
    assert run_module(app_release_info.main, {"name": "shop"})["apps"] == []
