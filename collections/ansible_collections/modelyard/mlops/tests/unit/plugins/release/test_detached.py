# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""detached: work outlives who asked for it, and its death shows."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils import detached
from ansible_collections.modelyard.mlops.plugins.module_utils.detached import Report, Tell, follow, start


@pytest.fixture
def runs(tmp_path: Path) -> str:
    return str(tmp_path / "runs")


def until_over(name: str, runs: str) -> tuple[list[str], Report]:
    told: list[str] = []
    while True:
        report = follow(name, len(told), runs)
        told += [event.text for event in report.events]
        if report.over:
            return told, report


def test_progress_comes_as_it_happens_and_the_result_once(runs: str, tmp_path: Path) -> None:
    go_on = tmp_path / "go"

    def work(tell: Tell) -> dict[str, object]:
        tell("one")
        while not go_on.exists():
            time.sleep(0.01)
        tell("two")
        return {"changed": True, "session": os.getsid(0), "process": os.getpid()}

    name = start(work, runs)
    report = follow(name, 0, runs)
    assert ([event.text for event in report.events], report.over) == (["one"], False)
    assert follow(name, 1, runs, patience=0.1) == Report([], False, None)
    go_on.touch()
    told, report = until_over(name, runs)
    assert told == ["one", "two"]
    assert report.result is not None
    assert report.result["changed"]
    assert report.result["session"] == report.result["process"] != os.getsid(0), "what ends us does not end it"
    assert os.listdir(runs) == []


def test_error_of_the_program_is_a_result(runs: str) -> None:
    _told, report = until_over(start(lambda _tell: {"value": 1 // 0}, runs), runs)
    assert report.result is not None
    assert report.result["failed"]
    assert "ZeroDivisionError" in report.result["msg"]


def test_death_shows(runs: str) -> None:
    def work(tell: Tell) -> dict[str, object]:
        tell("alive")
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    told, report = until_over(start(work, runs), runs)
    assert (told, report.over, report.result) == (["alive"], True, None)


def test_result_that_nobody_fetched_is_forgotten(runs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = start(lambda _tell: {}, runs)
    while not detached._is_over(os.path.join(runs, name)):
        time.sleep(0.01)
    monkeypatch.setattr(detached, "KEPT", -1.0)
    until_over(start(lambda _tell: {}, runs), runs)
    assert os.listdir(runs) == []
