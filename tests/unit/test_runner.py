# SPDX-License-Identifier: Apache-2.0
"""What `tests/run.py` does with its arguments; that suites run and count is seen whenever it runs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

_SPEC = importlib.util.spec_from_file_location("tests_run", Path(__file__).parents[1] / "run.py")
assert _SPEC is not None
assert _SPEC.loader is not None
runner = importlib.util.module_from_spec(_SPEC)
# Dataclasses look their module up.
sys.modules["tests_run"] = runner
_SPEC.loader.exec_module(runner)


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What was done, in its order: hosts prepared, and the names of the suites that ran."""
    done: list[str] = []

    def run(suite: Any) -> Any:
        done.append(suite.name)
        return runner.Outcome(suite.name, passed=1, failed=0, skipped=0, seconds=0, log=tmp_path / "log")

    monkeypatch.setattr(runner, "LOGS", tmp_path)
    monkeypatch.setattr(runner.Suite, "run", run)
    monkeypatch.setattr(runner, "prepare_hosts", lambda: done.append("prepared"))
    return done


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["prepare"], ["prepared"]),
        (["molecule", "docker"], ["prepared", "molecule/docker"]),
        (["e2e", "outside_team"], ["prepared", "e2e/outside_team"]),
        (["unit", "iris"], ["unit/iris"]),
    ],
)
def test_only_what_was_named_runs_on_hosts_that_are_prepared(
    done: list[str], arguments: list[str], expected: list[str]
) -> None:
    assert runner.main(arguments) == 0
    assert done == expected


@pytest.mark.parametrize("arguments", [["nothing"], ["molecule", "nothing"]])
def test_what_there_is_not_is_refused(done: list[str], arguments: list[str]) -> None:
    assert runner.main(arguments) == 2
    assert done == []
