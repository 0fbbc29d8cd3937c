# SPDX-License-Identifier: Apache-2.0
"""Production's secrets: made once, encrypted in the repository, and opened by one password."""

from __future__ import annotations

from pathlib import Path

import pytest

from delivery import secrets, vault
from delivery.errors import DeliveryError


def test_a_vault_is_made_with_its_password_and_keeps_what_it_has(tmp_path: Path) -> None:
    path, password = tmp_path / "vault.yml", tmp_path / "password"
    assert vault.ensure(path, password) == sorted(secrets.MAKERS)
    made = path.read_text()
    assert made.startswith("$ANSIBLE_VAULT;")
    assert password.stat().st_mode & 0o777 == 0o600
    assert vault.ensure(path, password) == []
    assert path.read_text() == made


def test_a_vault_without_its_password_is_left_alone(tmp_path: Path) -> None:
    path, password = tmp_path / "vault.yml", tmp_path / "password"
    vault.ensure(path, password)
    right = password.read_text()
    password.unlink()
    with pytest.raises(DeliveryError, match="its password is not"):
        vault.ensure(path, password)
    password.write_text("wrong\n")
    with pytest.raises(DeliveryError, match="ansible-vault view failed"):
        vault.ensure(path, password)
    password.write_text(right)
    assert vault.ensure(path, password) == []
