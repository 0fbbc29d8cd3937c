# SPDX-License-Identifier: Apache-2.0
"""Measures on a host what the ingress adds to a request: the same one in turn directly and through it.

python3 through_ingress.py PORT PATH     the serving slot's port; prints FIGURES and JSON
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from socket import create_connection

ROUNDS = 500


def ask(port: int, path: str) -> float:
    """A request on a connection of its own; returns its milliseconds."""
    begin = time.perf_counter()
    with create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    if b" 200 " not in answer.split(b"\r\n", 1)[0]:
        raise SystemExit(f"port {port}: {answer[:200]!r}")
    return (time.perf_counter() - begin) * 1000


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
    port, path = int(sys.argv[1]), sys.argv[2]
    pairs = [(ask(port, path), ask(80, path)) for _round in range(ROUNDS)]
    direct, through = ([pair[side] for pair in pairs] for side in (0, 1))
    figures = {
        "a request straight to the app, p50: milliseconds": statistics.median(direct),
        "a request through the ingress, p50: milliseconds": statistics.median(through),
        "what the ingress adds, p50: milliseconds": statistics.median(through) - statistics.median(direct),
        "the ingress' memory: MiB": resident_mib("haproxy"),
    }
    print("FIGURES", json.dumps(figures))


if __name__ == "__main__":
    main()
