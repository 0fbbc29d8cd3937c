# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Who listens on a port of this host."""

from __future__ import annotations

import errno
import glob
import os
import re
import socket
import typing as t
from dataclasses import dataclass

# The state column of /proc/net/tcp for a socket that listens.
_LISTENS = "0A"
_UNIT = re.compile(r"([^/\n]+\.service)(?:/|$)", re.MULTILINE)


@dataclass(frozen=True)
class Listener:
    """A process that listens, and its systemd service, if it is one's."""

    name: str
    pid: int
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid}{', ' + self.unit if self.unit else ''})"


def is_free(port: int, address: str = "") -> bool:
    """Whether a program could listen there now; the empty address is all of the host's."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def listeners(port: int, proc: str = "/proc") -> list[Listener]:
    """The processes that listen on a port, at whatever address; root sees all but those of other PID namespaces."""
    wanted = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _inodes(f"{proc}/net/{table}", port)}
    processes = {link.split("/fd/")[0] for link in glob.glob(f"{proc}/[0-9]*/fd/*") if _target(link) in wanted}
    return sorted(map(_listener, processes), key=lambda listener: listener.pid)


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""  # closed meanwhile


def _inodes(table: str, port: int) -> t.Iterator[str]:
    for row in map(str.split, _read(table).splitlines()[1:]):
        if row[3] == _LISTENS and int(row[1].rpartition(":")[2], 16) == port:
            yield row[9]


def _listener(process: str) -> Listener:
    name, cgroup = _read(f"{process}/comm").strip(), _read(f"{process}/cgroup")
    unit = _UNIT.search(cgroup)
    return Listener(name, int(os.path.basename(process)), unit[1] if unit else "")


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""  # ended meanwhile
