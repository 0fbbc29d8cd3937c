# SPDX-License-Identifier: Apache-2.0
"""Looks into the host."""

from __future__ import annotations

import time
from collections.abc import Callable

from testinfra.host import Host

RUNTIME = (
    "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect('/run/haproxy/admin.sock'); "
    "s.sendall(sys.argv[1].encode() + b'\\n'); print(s.makefile().read())"
)


def runtime(host: Host, command: str) -> str:
    """What HAProxy answers to a command at its admin socket."""
    with host.sudo():
        return str(host.check_output("python3 -c %s %s", RUNTIME, command))


def process_number(host: Host) -> str:
    """Of the process that serves, which is a new one after a reload."""
    return next(line for line in runtime(host, "show info").splitlines() if line.startswith("Pid:"))


def until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether something becomes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
