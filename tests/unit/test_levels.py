# SPDX-License-Identifier: Apache-2.0
"""What tests/run.py makes of what a scenario prints."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
import run as levels

END = "9 passed in 2.00s\nSCENARIO RECAP\ndocker : actions=8 failed=0"


def outcome(printed: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> levels.Outcome:
    monkeypatch.setattr(levels, "LOGS", folder)
    scenario = next(levels.molecule())
    command = [sys.executable, "-c", f"print({printed!r})"]
    return dataclasses.replace(scenario, name="molecule/some", command=command, folder=folder).run()


def test_a_scenario_counts_as_one_test_beside_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome(f"[WARNING]: no group yet\n{END}", tmp_path, monkeypatch)
    assert (found.passed, found.failed, found.flaws) == (10, 0, [])


@pytest.mark.parametrize(
    "line", ["[DEPRECATION WARNING]: INJECT_FACTS_AS_VARS is to go.", f"+password={levels.CANARY} of the database"]
)
def test_a_deprecation_or_a_secret_that_is_printed_fails_and_is_named(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = outcome(f"TASK\n{line}\n{END}", tmp_path, monkeypatch)
    assert (found.passed, found.failed) == (10, 1)
    levels._show(found)
    assert f"✗ molecule-some.log:2: {line}" in capsys.readouterr().out


def test_the_secrets_are_those_that_the_scenarios_mark() -> None:
    shared = levels.COLLECTION / "extensions/molecule/shared/playbook.py"
    assert f'CANARY = "{levels.CANARY}"' in shared.read_text()
