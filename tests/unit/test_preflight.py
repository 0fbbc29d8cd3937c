# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import pytest

from delivery import preflight
from delivery.errors import DeliveryError


@pytest.mark.parametrize(
    ("name", "version", "fine"),
    [
        ("debian", "12", True),
        ("ubuntu", "24.04", True),
        ("debian", "11", False),
        ("ubuntu", "20.04", False),
        ("fedora", "42", False),
    ],
)
def test_systems(tmp_path: Path, name: str, version: str, fine: bool) -> None:
    release = tmp_path / "os-release"
    release.write_text(f'ID={name}\nVERSION_ID="{version}"\nPRETTY_NAME="{name} {version}"\n')
    problem = preflight.system(release)
    assert (problem is None) is fine
    if problem:
        assert f"{name} {version}" in problem
        assert "debian 12 or 13" in problem


def test_too_little_disk_names_what_is_needed(tmp_path: Path) -> None:
    assert preflight.disk(tmp_path, needed=1) is None
    assert "1000000 GB of disk are needed" in str(preflight.disk(tmp_path, needed=10**15))


def test_no_rights_and_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    problem = preflight.rights(tmp_path / "docker.sock")
    assert problem is not None
    assert "sudo" in problem
    assert "docker.sock" in problem


def test_a_usable_engine_is_right_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    socket = tmp_path / "docker.sock"
    socket.touch()
    assert preflight.rights(socket) is None


def test_all_reasons_come_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "disk", lambda _place: "no disk")
    monkeypatch.setattr(preflight, "system", lambda: "no system")
    monkeypatch.setattr(preflight, "rights", lambda: "no rights")
    with pytest.raises(DeliveryError) as refused:
        preflight.check(tmp_path, rehearsed=True)
    assert all(reason in str(refused.value) for reason in ("no disk", "no system", "no rights"))
    with pytest.raises(DeliveryError) as refused:
        preflight.check(tmp_path, rehearsed=False)
    assert "no system" not in str(refused.value)
