# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a host has room for what is to start."""

from __future__ import annotations

import os
import socket
import typing as t

from .release import ReleaseError

# What must stay free for the host itself, beyond what the second copy may take.
DISK_RESERVE = 256 * 1024**2


def check_memory(needed: int, meminfo: str = "/proc/meminfo") -> None:
    """Refuse to start a second copy where it would push the first one out.

    :param needed: bytes that the second copy may take.
    :raises ReleaseError: there is too little memory.
    """
    with open(meminfo, encoding="ascii") as stream:
        available = next(int(line.split()[1]) * 1024 for line in stream if line.startswith("MemAvailable:"))
    if available < needed:
        raise ReleaseError(
            f"two releases do not fit beside each other: a second one may take {needed >> 20} MiB (`memory`), and "
            f"{available >> 20} MiB are available. Free memory, lower `memory`, take a larger host, or set "
            "`strategy: recreate`, which stops the old release before the new one starts"
        )


def check_disk(folders: t.Iterable[str], reserve: int = DISK_RESERVE) -> None:
    """Refuse to begin what a full disk would end half-way.

    :param folders: where a deployment writes; one that is not there yet counts as the folder that it will be in.
    :raises ReleaseError: there is too little room in one of them.
    """
    for folder in folders:
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        disk = os.statvfs(folder)
        free = disk.f_bavail * disk.f_frsize
        if free < reserve:
            raise ReleaseError(
                f"the disk is full: {folder} has {free >> 20} MiB free, and {reserve >> 20} MiB are needed: "
                "make room there"
            )


def check_port(port: int) -> None:
    """Refuse a loopback port that something else has.

    :raises ReleaseError: it does.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ReleaseError(
                f"127.0.0.1:{port} is taken by something else (`ss -ltnp` names it): free it, or choose other `slots`"
            ) from error
