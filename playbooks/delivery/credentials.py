# SPDX-License-Identifier: Apache-2.0
"""Puts what a workflow gets as secrets into files of the yard, where ssh and ansible-vault look for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from . import private
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
    }
    # A team that has its secrets in SOPS has no vault.
    if yard.vault.exists():
        files["VAULT_PASSWORD"] = yard.state / VAULT_PASSWORD_FILE
    missing = [name for name in files if not environment.get(name, "").strip()]
    if missing:
        raise DeliveryError(
            f"{', '.join(missing)} not set: a workflow's environment {yard.environment} on GitHub must have "
            "each as a secret"
        )
    for name, path in files.items():
        private.write(path, environment[name].strip() + "\n")
    return list(files.values())
