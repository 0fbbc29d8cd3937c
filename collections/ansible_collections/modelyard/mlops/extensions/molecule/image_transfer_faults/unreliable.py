# SPDX-License-Identifier: Apache-2.0
"""A way to a host that fails as it is told: SSH's ProxyCommand in the tests of faults.

Usage: unreliable.py FOLDER HOST PORT

FOLDER/faults.json says what fails: `cut` after so many bytes towards the host, counted over all connections, or
`damage` (a bit turns over) there; `refuse` from that connection on; `once` is whether the way works afterwards;
`run` is a command by the number of the connection, which ends before anything passes. FOLDER/sent has the numbers
of bytes, FOLDER/connections a line for each connection.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

PIECE = 32 * 1024


def main(folder: Path, host: str, port: int) -> None:
    """Connect standard input and output with the host."""
    faults = json.loads((folder / "faults.json").read_text(encoding="utf-8"))
    number = count(folder / "connections", 1)
    if "refuse" in faults and number >= faults["refuse"]:
        os._exit(1)
    command = faults.get("run", {}).get(str(number))
    if command:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    way = socket.create_connection((host, port), timeout=20)
    way.settimeout(None)
    threading.Thread(target=bring_back, args=(way,), daemon=True).start()
    while piece := os.read(0, PIECE):
        way.sendall(pass_on(folder, faults, piece))
    way.shutdown(socket.SHUT_WR)
    threading.Event().wait(1)


def pass_on(folder: Path, faults: dict[str, int], piece: bytes) -> bytes:
    """The piece as it comes out on the other side, if it does."""
    after = count(folder / "sent", len(piece))
    before = after - len(piece)
    if "cut" in faults and before < faults["cut"] <= after:
        if not faults.get("once"):
            (folder / "faults.json").write_text(json.dumps({"refuse": 0}), encoding="utf-8")
        os._exit(1)
    if "damage" in faults and before < faults["damage"] <= after:
        middle = len(piece) // 2
        return piece[:middle] + bytes([piece[middle] ^ 1]) + piece[middle + 1 :]
    return piece


def bring_back(way: socket.socket) -> None:
    """What the host answers."""
    try:
        while piece := way.recv(PIECE):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    finally:
        os._exit(0)


def count(file: Path, more: int) -> int:
    """Add `more` to the numbers in a file, and return their sum. A process may be killed here at any moment."""
    with open(file, "a+", encoding="ascii") as numbers:
        numbers.write(f"{more}\n")
        numbers.flush()
        numbers.seek(0)
        return sum(map(int, numbers))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
