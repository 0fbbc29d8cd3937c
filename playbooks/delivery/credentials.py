# SPDX-License-Identifier: Apache-2.0
"""Puts what a workflow gets as secrets into files of the yard, where ssh and ansible-vault look for them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .errors import DeliveryError
from .yard import Yard

VAULT_PASSWORD_FILE = "vault-password"  # in the yard's state


def place(yard: Yard, environment: Mapping[str, str]) -> list[Path]:
    """Write the yard's keys from the environment, each readable by its owner only; return the files.

    :raises DeliveryError: one is not in the environment; then none is written.
    """
    files = {
        "SSH_PRIVATE_KEY": yard.private_key,
        "SSH_KNOWN_HOSTS": yard.known_hosts,
        "VAULT_PASSWORD": yard.state / VAULT_PASSWORD_FILE,
    }
    missing = [name for name in files if not environment.get(name, "").strip()]
    if missing:
        raise DeliveryError(
            f"{', '.join(missing)} not set: a workflow's environment {yard.environment} on GitHub must have "
            "each as a secret"
        )
    for name, path in files.items():
        _write(path, environment[name].strip() + "\n")
    return list(files.values())


def _write(path: Path, text: str) -> None:
    """Replace a file as a whole, so that it is never seen half written nor readable by others."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)
