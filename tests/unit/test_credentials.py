# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from delivery import credentials
from delivery.errors import DeliveryError
from delivery.yard import Yard

SECRETS = {"SSH_PRIVATE_KEY": "a key\nof lines", "SSH_KNOWN_HOSTS": "host key\n", "VAULT_PASSWORD": "word"}


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    yard = Yard("production", "production", tmp_path)
    yard.state.mkdir(parents=True)
    yard.vault.parent.mkdir(parents=True)
    yard.vault.touch()
    return yard


def test_each_secret_is_a_file_of_its_owner(yard: Yard) -> None:
    files = credentials.place(yard, SECRETS)
    # ssh refuses a key without a newline at its end.
    assert {path.read_text() for path in files} == {"a key\nof lines\n", "host key\n", "word\n"}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_a_readable_file_is_replaced_and_not_written_into(yard: Yard) -> None:
    yard.private_key.write_text("old")
    yard.private_key.chmod(0o644)
    credentials.place(yard, SECRETS)
    assert yard.private_key.stat().st_mode & 0o777 == 0o600


def test_what_is_missing_is_named_and_nothing_is_written(yard: Yard) -> None:
    with pytest.raises(DeliveryError, match="VAULT_PASSWORD not set"):
        credentials.place(yard, {**SECRETS, "VAULT_PASSWORD": " "})
    assert list(yard.state.iterdir()) == []


def test_without_a_vault_no_password_is_asked_for(yard: Yard) -> None:
    yard.vault.unlink()
    files = credentials.place(yard, {**SECRETS, "VAULT_PASSWORD": ""})
    assert files == [yard.private_key, yard.known_hosts]
