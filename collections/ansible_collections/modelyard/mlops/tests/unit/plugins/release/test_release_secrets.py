# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""release_secrets: systemd-tmpfiles is told what to copy, and what no container needs goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils import release_secrets
from ansible_collections.modelyard.mlops.plugins.module_utils.release import ReleaseError
from ansible_collections.modelyard.mlops.plugins.module_utils.release_secrets import MemorySecrets


@pytest.fixture
def memory(tmp_path: Path) -> MemorySecrets:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "modelyard-secrets.demo-2.1.conf").touch()  # another app's

    def create(path: str) -> None:
        (tmp_path / "run" / "demo" / Path(path).name.split(".")[2]).mkdir(parents=True)

    return MemorySecrets("demo", lambda n: f"/rest/demo/{n}", str(tmp_path / "run"), str(tmp_path / "rules"), create)


def test_rules_copy_for_the_user_of_the_container_alone(memory: MemorySecrets, tmp_path: Path) -> None:
    assert memory.provide(3, 10001) == str(tmp_path / "run" / "demo" / "3")
    rules = (tmp_path / "rules" / "modelyard-secrets.demo.3.conf").read_text().splitlines()
    assert f"C {tmp_path}/run/demo/3 0500 10001 root - /rest/demo/3" in rules
    assert f"d {tmp_path}/run 0700 root root -" in rules


def test_only_what_runs_is_retained(memory: MemorySecrets, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        memory.provide(number, 10001)
    memory.retain({2})
    assert [path.name for path in (tmp_path / "run" / "demo").iterdir()] == ["2"]
    names = sorted(path.name for path in (tmp_path / "rules").iterdir())
    assert names == ["modelyard-secrets.demo-2.1.conf", "modelyard-secrets.demo.2.conf"]


def test_host_without_tmpfiles_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ReleaseError, match="`systemd-tmpfiles --create /x` failed"):
        release_secrets.create("/x")
