# SPDX-License-Identifier: Apache-2.0
"""What must be true of this machine before anything is changed on it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from .errors import DeliveryError

# Images, their build cache, the hosts' own copies and the transfer cache, measured on Debian 12 with room to spare.
DISK_NEEDED = 12 * 10**9
SUPPORTED = {"debian": ("12", "13"), "ubuntu": ("22.04", "24.04")}
MACHINES = ("x86_64", "aarch64")


def check(place: Path, *, rehearsed: bool) -> None:
    """Refuse, with all reasons at once, a machine on which the delivery cannot end well.

    :param place: where the delivery keeps its files; the disk under it is what must have room.
    :param rehearsed: hosts will run on this machine, so it must be one that can carry them.
    :raises DeliveryError: what was found, and what to do about it.
    """
    findings: list[Callable[[], str | None]] = [lambda: disk(place)]
    if rehearsed:
        findings += [system, rights]
    problems = [problem for problem in (find() for find in findings) if problem]
    if problems:
        raise DeliveryError("this machine is not ready:\n" + "\n".join(f"  - {problem}" for problem in problems))


def system(release: Path = Path("/etc/os-release")) -> str | None:
    """Name what is unsupported about the operating system, or None."""
    if platform.system() != "Linux" or not release.exists():
        return f"the rehearsal needs Debian or Ubuntu, this is {platform.system()}"
    fields = dict(line.split("=", 1) for line in release.read_text().splitlines() if "=" in line)
    name, version = fields.get("ID", "").strip('"'), fields.get("VERSION_ID", "").strip('"')
    if version not in SUPPORTED.get(name, ()):
        wanted = ", ".join(f"{name} {' or '.join(versions)}" for name, versions in SUPPORTED.items())
        return f"the rehearsal needs {wanted}; this is {fields.get('PRETTY_NAME', name).strip(chr(34))}"
    if platform.machine() not in MACHINES:
        return f"the rehearsal needs one of {', '.join(MACHINES)}; this is {platform.machine()}"
    return None


def rights(socket: Path = Path("/var/run/docker.sock")) -> str | None:
    """Say why neither a Docker engine can be used nor one be installed, or None."""
    if os.geteuid() == 0 or os.access(socket, os.W_OK):
        return None
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
        return None
    return (
        f"no Docker engine that user {os.environ.get('USER', os.geteuid())} may use ({socket}), and no right to "
        "install one: run as root, allow sudo without a password, or join the group `docker`"
    )


def disk(place: Path, needed: int = DISK_NEEDED) -> str | None:
    """Say how much room is missing under `place`, or None."""
    free = shutil.disk_usage(place).free
    if free >= needed:
        return None
    return f"{needed / 1e9:.0f} GB of disk are needed under {place}, {free / 1e9:.1f} GB are free: make room"
