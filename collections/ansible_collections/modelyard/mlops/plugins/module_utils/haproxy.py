# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Which slot of an app the ingress serves: the map file, and the running HAProxy behind its admin socket.

The file is what HAProxy reads when it starts; the running process is changed through its socket, without a reload.
Writing the file first and the process second means that a crash between the two leaves a host which a restart, or the
next run, brings to the newer state.
"""

from __future__ import annotations

import csv
import os
import socket
from dataclasses import dataclass

ADMIN_SOCKET = "/run/haproxy/admin.sock"
SLOT_MAP = "/var/lib/modelyard/ingress/slots.map"

# Where the ingress shows each app's serving slot to the host itself, below /apps/NAME/.
INTERNAL_PORT = 8404

# The state column of /proc/net/tcp for a connection that is open in both directions.
_ESTABLISHED = "01"


class HaproxyError(Exception):
    """HAProxy does not answer, or refuses a command; the message says what to do."""


@dataclass(frozen=True)
class Load:
    """What a slot's backend has done since HAProxy was started, and what it is doing."""

    requests: int
    errors: int
    sessions: int


@dataclass(frozen=True)
class Route:
    """The slot that an app's requests go to, in the file and in the running process; None where there is none."""

    file: str | None
    running: str | None


class Runtime:
    """HAProxy's runtime API. Each command opens its own connection, as HAProxy closes it after the answer."""

    def __init__(self, path: str = ADMIN_SOCKET, timeout: float = 5.0) -> None:
        self.path = path
        self.timeout = timeout

    def command(self, line: str) -> str:
        """Send one command and return the whole answer.

        :raises HaproxyError: nothing answers.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(self.timeout)
            try:
                connection.connect(self.path)
                connection.sendall(line.encode() + b"\n")
                return b"".join(iter(lambda: connection.recv(65536), b"")).decode()
            except OSError as error:
                raise HaproxyError(
                    f"HAProxy does not answer at {self.path} ({error}): run the role ingress on this host, "
                    "and look at `systemctl status haproxy`"
                ) from error


class SlotMap:
    """The map file: one line for each app, `app slot`."""

    def __init__(self, path: str = SLOT_MAP) -> None:
        self.path = path

    def read(self) -> dict[str, str]:
        """The slots by app; none when the file does not exist yet."""
        try:
            with open(self.path, encoding="utf-8") as stream:
                return _entries(stream.read())
        except FileNotFoundError:
            return {}

    def write(self, entries: dict[str, str]) -> None:
        """Replace the file atomically, on disk when this returns."""
        temporary = self.path + ".new"
        with open(temporary, "w", encoding="utf-8") as stream:
            stream.writelines(f"{app} {slot}\n" for app, slot in sorted(entries.items()))
            stream.flush()
            os.fsync(stream.fileno())
            os.fchmod(stream.fileno(), 0o644)
        os.replace(temporary, self.path)


class Router:
    """Points apps to slots, in the file and in the running process."""

    def __init__(self, runtime: Runtime, slot_map: SlotMap) -> None:
        self._runtime = runtime
        self._map = slot_map

    def route(self, app: str) -> Route:
        """Where the app's requests go now."""
        return Route(self._map.read().get(app), self._running().get(app))

    def is_pointed(self, app: str, slot: str) -> bool:
        """Whether the app's requests go to `slot`, now and after a restart."""
        return self.route(app) == Route(slot, slot)

    def file_slot(self, app: str) -> str | None:
        """The slot in the map file alone, which needs no running HAProxy."""
        return self._map.read().get(app)

    def apps(self) -> set[str]:
        """The apps that have a slot, in the file or in the running process."""
        return {*self._map.read(), *self._running()}

    def point(self, app: str, slot: str | None) -> None:
        """Send the app's requests to `slot`, or nowhere, and read back that it is so.

        :raises HaproxyError: the running process did not take it; the file says it already.
        """
        entries = self._map.read()
        if slot is None:
            entries.pop(app, None)
        else:
            entries[app] = slot
        self._map.write(entries)
        running = self._running().get(app)
        if slot is None:
            answer = self._runtime.command(f"del map {self._map.path} {app}") if running else ""
        else:
            verb = "set" if running else "add"
            answer = self._runtime.command(f"{verb} map {self._map.path} {app} {slot}")
        if self._running().get(app) != slot:
            raise HaproxyError(f"HAProxy did not take slot {slot} for {app}: {answer.strip() or 'no reason given'}")

    def load(self, app: str, slot: str) -> Load:
        """The counters of one slot.

        :raises HaproxyError: the ingress does not know the app.
        """
        row = self._rows(app, slot)["BACKEND"]
        answers = sum(int(row[f"hrsp_{kind}"] or 0) for kind in ("1xx", "2xx", "3xx", "4xx", "5xx", "other"))
        return Load(requests=answers, errors=int(row["hrsp_5xx"] or 0), sessions=int(row["scur"] or 0))

    def address(self, app: str, slot: str) -> str:
        """`host:port` that the ingress uses for a slot.

        :raises HaproxyError: the ingress does not know the app.
        """
        return next(row["addr"] for name, row in self._rows(app, slot).items() if name != "BACKEND")

    def _running(self) -> dict[str, str]:
        answer = self._runtime.command(f"show map {self._map.path}")
        if answer.startswith("Unknown map"):
            raise HaproxyError(f"the running HAProxy does not use {self._map.path}: run the role ingress on this host")
        # Each line begins with the entry's address in memory.
        return _entries("\n".join(line.partition(" ")[2] for line in answer.splitlines()))

    def _rows(self, app: str, slot: str) -> dict[str, dict[str, str]]:
        backend = f"app_{app}_{slot}"
        table = self._runtime.command("show stat").lstrip("# ").strip().splitlines()
        rows = {row["svname"]: row for row in csv.DictReader(table) if row["pxname"] == backend}
        if "BACKEND" not in rows or len(rows) < 2:
            raise HaproxyError(f"the ingress has no backend {backend}: name {app} in ingress_apps, and run that role")
        return rows


def open_connections(port: int, path: str = "/proc/net/tcp") -> int:
    """How many connections are open to a loopback port, whichever process holds the other end.

    It counts what a former HAProxy process, still finishing after a reload, has open: the running one's own session
    counters know nothing of that.
    """
    remote = f"0100007F:{port:04X}"
    with open(path, encoding="ascii") as stream:
        rows = [line.split() for line in stream.readlines()[1:]]
    return sum(1 for row in rows if row[2] == remote and row[3] == _ESTABLISHED)


def _entries(text: str) -> dict[str, str]:
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
