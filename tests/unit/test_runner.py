# SPDX-License-Identifier: Apache-2.0
"""What tests/run.py does with its arguments, and makes of what a scenario prints."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import run as runner

END = "9 passed in 2.00s\nSCENARIO RECAP\ndocker : actions=8 failed=0"


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What was done, in its order: hosts prepared, and the names of the suites that ran."""
    done: list[str] = []

    def run(suite: Any) -> Any:
        done.append(suite.name)
        return runner.Outcome(suite.name, passed=1, failed=0, skipped=0, seconds=0, log=tmp_path / "log", failures=[])

    monkeypatch.setattr(runner, "LOGS", tmp_path)
    monkeypatch.setattr(runner.Suite, "run", run)
    monkeypatch.setattr(runner, "prepare_hosts", lambda debians: done.append(" ".join(["prepared", *debians])))
    return done


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["prepare"], ["prepared bookworm"]),
        (["molecule", "docker"], ["prepared bookworm", "molecule/docker"]),
        (["molecule", "docker-trixie"], ["prepared trixie", "molecule/docker-trixie"]),
        (["e2e", "outside_team"], ["prepared bookworm", "e2e/outside_team"]),
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


def scenario(printed: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> runner.Suite:
    monkeypatch.setattr(runner, "LOGS", folder)
    command = [sys.executable, "-c", f"print({printed!r})"]
    return dataclasses.replace(next(runner.molecule()), name="molecule/some", command=command, folder=folder)


def test_a_scenario_counts_as_one_test_beside_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = scenario(f"[WARNING]: no group yet\n{END}", tmp_path, monkeypatch).run()
    assert (found.passed, found.failed, found.failures) == (10, 0, [])


def test_what_testinfra_skipped_or_could_not_begin_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = f"=== 8 passed, 4 skipped in 61.80s (0:01:01) ===\n=== 1 failed, 1 skipped, 2 errors in 3.00s ===\n{END}"
    found = scenario(ends, tmp_path, monkeypatch).run()
    assert (found.passed, found.failed, found.skipped) == (18, 3, 5)


@pytest.mark.parametrize(
    ("printed", "named"),
    [
        (f"TASK\n[DEPRECATION WARNING]: facts\n{END}", "molecule-some.log:2: [DEPRECATION WARNING]: facts"),
        (f"TASK\n+password={runner.CANARY}\n{END}", f"molecule-some.log:2: +password={runner.CANARY}"),
        (f"FAILED tests/test_a.py::test_b - assert 1 == 2\n1 failed, {END}", "tests/test_a.py::test_b - assert 1 == 2"),
        ("no host could be created", "see {log}"),
    ],
)
def test_what_failed_is_named_at_the_end(
    printed: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = scenario(printed, tmp_path, monkeypatch)
    monkeypatch.setattr(runner, "LEVELS", {"unit": lambda: [suite]})
    assert runner.main(["unit"]) == 1
    *_before, failure, counted = capsys.readouterr().out.splitlines()
    assert failure == f"✗ molecule/some: {named.format(log=tmp_path / 'molecule-some.log')}"
    assert counted.endswith(" passed, 1 failed")


def test_each_file_of_the_collection_is_covered_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "LOGS", tmp_path)
    (suite,) = [suite for suite in runner.unit() if suite.name == "unit/collection"]
    covered = {"plugins/modules/a.py": 89.94, "plugins/modules/b.py": 90.0, "plugins/module_utils/detached.py": 76.0}
    figures = {"files": {name: {"summary": {"percent_covered": percent}} for name, percent in covered.items()}}
    # As pytest does, at the place that it is given.
    place = next(word for word in suite.command if word.startswith("--cov-report=json:")).partition(":")[2]
    write = f"import sys; open(sys.argv[1], 'w').write({json.dumps(json.dumps(figures))})"
    found = dataclasses.replace(suite, command=[sys.executable, "-c", write, place], count=lambda _log: (1, 0, 0)).run()
    assert found.failures == ["a.py: 89.9 % covered, and 90 are wanted"]
    assert found.failed == 1


def test_the_secrets_are_those_that_the_scenarios_mark() -> None:
    shared = runner.COLLECTION / "extensions/molecule/shared/playbook.py"
    assert f'CANARY = "{runner.CANARY}"' in shared.read_text()
