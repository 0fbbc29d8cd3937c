# SPDX-License-Identifier: Apache-2.0
"""What tests/sanity.py makes of the ways in which ansible-test ends, and of what it leaves out."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import sanity

NOT_FOUND = 'WARNING: Skipping sanity test "import" on Python 3.14 because it could not be found.'
NO_VENV = 'WARNING: Skipping sanity test "pep8" on Python 3.9 due to missing virtual environment support.'
NO_VENV_EITHER = 'WARNING: Skipping sanity test "mypy" due to missing virtual environment support on Python 3.9.'
UNSUPPORTED = (
    'WARNING: Skipping sanity test "pylint" on Python 3.8 because it is unsupported. Supported Python versions: 3.13'
)


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str, *words: str) -> int:
    """Run it with a script as ansible-test."""
    program = folder / "ansible-test"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setattr(sanity, "_environment", lambda: {"PATH": "/usr/bin:/bin"})
    return sanity.main(list(words))


@pytest.mark.parametrize(
    ("warning", "named"),
    [(NOT_FOUND, "import on 3.14"), (NO_VENV, "pep8 on 3.9"), (NO_VENV_EITHER, "mypy on 3.9")],
)
def test_what_a_missing_python_left_out_is_named_last_and_refused_where_all_are_wanted(
    warning: str, named: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script = f"echo '{warning}' >&2; echo 'WARNING: Reviewing previous 1 warning(s)'"
    assert run(monkeypatch, tmp_path, script) == 0
    assert capfd.readouterr().out.splitlines()[-1] == f"▸ not tested, for lack of a usable Python: {named}"
    assert run(monkeypatch, tmp_path, script, "--all-pythons") == 1
    assert capfd.readouterr().out.splitlines()[-1] == f"✗ not tested, for lack of a usable Python: {named}"


def test_what_ansible_test_does_not_support_is_not_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run(monkeypatch, tmp_path, f"echo '{UNSUPPORTED}'", "--all-pythons") == 0


@pytest.mark.parametrize("ending", ["exit 3", "kill -9 $$"])
def test_one_run_that_fails_or_is_killed_fails_all(
    ending: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The second of the two quick runs succeeds.
    assert run(monkeypatch, tmp_path, f'case "$*" in *--skip-test*) {ending};; esac', "quick") == 1
    assert run(monkeypatch, tmp_path, "exit 0", "quick") == 0
