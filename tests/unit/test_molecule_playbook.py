# SPDX-License-Identifier: Apache-2.0
"""What the scenarios' own tests run must be as clean as what molecule runs: pytest hides it from tests/run.py."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

RESULTS = '{"plays": [], "stats": {}, "a": %s}'


@pytest.fixture
def playbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The scenarios' helpers, where ansible-playbook prints what is in the file `output`."""
    program = tmp_path / "ansible-playbook"
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/output\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("MOLECULE_SCENARIO_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("MOLECULE_INVENTORY_FILE", str(tmp_path / "hosts"))
    return importlib.import_module("ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook")


@pytest.mark.parametrize("helper", ["play", "report"])
@pytest.mark.parametrize(
    ("printed", "clean"),
    [
        (RESULTS % '{"deprecations": []}', True),
        (RESULTS % '{"deprecations": [{"msg": "goes"}]}', False),
        (f"[DEPRECATION WARNING]: goes\n{RESULTS % 1}", False),
        (RESULTS % '"key of canary_secret"', False),
    ],
)
def test_a_deprecation_or_a_secret_fails_the_test_that_printed_it(
    helper: str, printed: str, clean: bool, playbook: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "output").write_text(printed)
    if clean:
        assert getattr(playbook, helper)("site.yml")[0] == 0
    else:
        with pytest.raises(AssertionError):
            getattr(playbook, helper)("site.yml")
