# SPDX-License-Identifier: Apache-2.0
"""Secrets in SOPS instead of a vault: the real sops, and Ansible as this repository sets it up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from delivery import secrets, site
from delivery.yard import Yard

PROGRAMS = Path(sys.executable).parent
SECRETS = secrets.complete({})


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Yard:
    """Return production with a key and an inventory of its own, its secrets encrypted for the key."""
    monkeypatch.setattr(Yard, "state", tmp_path / "state")
    monkeypatch.setattr(Yard, "inventory", tmp_path / "inventory")
    yard = Yard("production", "production")
    yard.state.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", yard.private_key], check=True)
    encrypted = subprocess.run(
        [PROGRAMS / "sops", "encrypt", "--filename-override", "secrets.sops.yml", "--age", _public(yard.private_key)],
        input=secrets.text(SECRETS),
        capture_output=True,
        text=True,
        check=True,
    )
    yard.vault.parent.mkdir(parents=True)
    yard.vault.with_name("secrets.sops.yml").write_text(encrypted.stdout)
    (yard.inventory / "hosts").write_text("[app]\nyard-1\n")
    return yard


def test_the_yards_key_opens_them(yard: Yard) -> None:
    assert all(secret not in yard.vault.with_name("secrets.sops.yml").read_text() for secret in SECRETS.values())
    found = json.loads(_ask(yard).stdout)
    # A newline at the very end of the file is not told from the file's own.
    assert {name: found[name].rstrip() for name in SECRETS} == {name: SECRETS[name].rstrip() for name in SECRETS}


def test_without_a_key_the_file_is_named(yard: Yard) -> None:
    yard.private_key.unlink()
    done = _ask(yard)
    assert done.returncode != 0
    assert "secrets.sops.yml" in "\n".join(site.reasons(done.stderr.splitlines()))


def _ask(yard: Yard) -> subprocess.CompletedProcess[str]:
    command = [str(PROGRAMS / "ansible-inventory"), "-i", str(yard.inventory), "--host", "yard-1"]
    # A person's own keys are no part of this.
    environment = site.environment(yard, {"HOME": str(yard.state)})
    return subprocess.run(command, env=environment, cwd=yard.root, capture_output=True, text=True)


def _public(key: Path) -> str:
    return " ".join(key.with_suffix(".pub").read_text().split()[:2])
