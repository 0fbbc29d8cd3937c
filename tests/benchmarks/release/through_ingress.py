# SPDX-License-Identifier: Apache-2.0
"""Measures on a host what the ingress adds to a request: the same one in turn directly and through it.

python3 through_ingress.py APP PORT PATH     prints FIGURES and JSON

APP is one that the ingress knows and that has no release; PORT that of its blue slot, and PATH its route. While this
runs, a server that answers at once plays it: beside an app that thinks, the ingress is hard to see.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import selectors
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROUNDS = 1000
ADMIN_SOCKET = "/run/haproxy/admin.sock"
SLOT_MAP = "/var/lib/modelyard/ingress/slots.map"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Ask = Callable[[], float]


def serve(port: int) -> None:
    """Answer each request at once, in one thread."""
    ready = selectors.EpollSelector()
    with socket.create_server(("127.0.0.1", port), backlog=128) as server:
        ready.register(server, selectors.EVENT_READ)
        while True:
            for key, _events in ready.select():
                if key.fileobj is server:
                    ready.register(server.accept()[0], selectors.EVENT_READ)
                    continue
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                # The ingress ends a connection by a reset.
                with contextlib.suppress(ConnectionResetError):
                    if connection.recv(65536):
                        connection.sendall(ANSWER)
                        continue
                ready.unregister(connection)
                connection.close()


@contextlib.contextmanager
def quick_app(app: str, port: int) -> Iterator[None]:
    """A server that plays an app, and the ingress that sends the app's requests to it."""
    server = multiprocessing.Process(target=serve, args=(port,), daemon=True)
    server.start()
    haproxy(f"add map {SLOT_MAP} {app} blue")
    try:
        time.sleep(0.5)
        yield
    finally:
        haproxy(f"del map {SLOT_MAP} {app}")
        server.kill()


def haproxy(command: str) -> None:
    """Give the running process a command."""
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(ADMIN_SOCKET)
        admin.sendall(command.encode() + b"\n")
        admin.recv(4096)


def request(connection: socket.socket, path: str) -> None:
    """Ask, and read the answer."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\nok"):
        piece = connection.recv(65536)
        answer += piece
        if not piece or b" 200 " not in answer.split(b"\r\n", 1)[0]:
            raise SystemExit(f"no answer: {answer[:200]!r}")


def on_new_connections(port: int, path: str) -> Ask:
    """A request on a connection of its own takes so many milliseconds."""

    def ask() -> float:
        begin = time.perf_counter()
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            request(connection, path)
        return (time.perf_counter() - begin) * 1000

    return ask


def on_one_connection(port: int, path: str) -> Ask:
    """A request on a connection that is kept takes so many milliseconds."""
    connection = socket.create_connection(("127.0.0.1", port), 10)

    def ask() -> float:
        begin = time.perf_counter()
        request(connection, path)
        return (time.perf_counter() - begin) * 1000

    return ask


def resident_mib(name: str) -> float:
    """What the processes of a name hold in memory together."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        if lines["Name"].strip() == name:
            total += int(lines.get("VmRSS", "0 kB").split()[0])
    return total / 1024


def main() -> None:
    """Measure, and print."""
    app, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    figures = {}
    with quick_app(app, port):
        for kind, way in (("a new connection", on_new_connections), ("a kept connection", on_one_connection)):
            straight, behind = way(port, path), way(80, path)
            pairs = [(straight(), behind()) for _round in range(ROUNDS)]
            direct, through = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
            figures[f"a request straight to the app, {kind}, p50: milliseconds"] = direct
            figures[f"what the ingress adds, {kind}, p50: milliseconds"] = through - direct
    figures["the ingress' memory: MiB"] = resident_mib("haproxy")
    print("FIGURES", json.dumps(figures))


if __name__ == "__main__":
    main()
