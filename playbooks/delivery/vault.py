# SPDX-License-Identifier: Apache-2.0
"""Keeps an environment's secrets in the repository, encrypted by ansible-vault."""

from __future__ import annotations

import os
import secrets as random
import subprocess
import sys
from pathlib import Path

import yaml

from . import private, secrets
from .errors import DeliveryError


def ensure(path: Path, password_file: Path) -> list[str]:
    """Add the secrets that the vault at `path` does not have yet; return their names.

    :param password_file: the vault's password; it is made where there is neither it nor a vault.
    :raises DeliveryError: the vault cannot be opened with that password.
    """
    if not password_file.exists():
        if path.exists():
            raise DeliveryError(f"{path} is there and its password is not: put it into {password_file} (0600)")
        private.write(password_file, random.token_urlsafe(32) + "\n")
    have: dict[str, str] = yaml.safe_load(_vault("view", password_file, path)) if path.exists() else {}
    added = secrets.complete(have)
    if added:
        # Only what is encrypted touches the working tree.
        encrypted = _vault("encrypt", password_file, "-", "--output", "-", given=secrets.text(have | added))
        private.write(path, encrypted)
    return sorted(added)


def _vault(verb: str, password_file: Path, *arguments: str | Path, given: str = "") -> str:
    command = [Path(sys.executable).with_name("ansible-vault"), verb, "--vault-password-file", password_file]
    done = subprocess.run(
        [*map(str, command), *map(str, arguments)],
        input=given,
        capture_output=True,
        text=True,
        env={**os.environ, "PAGER": "cat"},
    )
    if done.returncode:
        raise DeliveryError(f"ansible-vault {verb} failed with the password in {password_file}: {done.stderr.strip()}")
    return done.stdout
