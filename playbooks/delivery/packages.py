# SPDX-License-Identifier: Apache-2.0
"""Installs Debian's packages on this machine, as root or with sudo's leave."""

from __future__ import annotations

import os

from .run import Run


def sudo() -> list[str]:
    """Return the words that make a command root's: none for root."""
    return [] if os.geteuid() == 0 else ["sudo", "-n"]


def install(run: Run, *names: str) -> None:
    """Install packages by name, from fresh lists.

    :raises DeliveryError: apt-get failed; carries its last lines.
    """
    run.command([*sudo(), "apt-get", "update", "--quiet"])
    command = [*sudo(), "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes", "--quiet"]
    run.command([*command, "--no-install-recommends", *names])
