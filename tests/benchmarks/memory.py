# SPDX-License-Identifier: Apache-2.0
"""How much memory a command takes, with all the processes that it starts."""

from __future__ import annotations

import threading
import time
from pathlib import Path


class Watch:
    """The most memory of a process and its children; what they share counts once.

    `most` is in bytes.

    :param every: how often it looks, in seconds.
    """

    def __init__(self, pid: int, every: float = 0.05) -> None:
        self.most = 0
        self._pid = pid
        self._every = every
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while Path(f"/proc/{self._pid}").exists():
            self.most = max(self.most, sum(map(_memory, _tree(self._pid))))
            time.sleep(self._every)


def _tree(pid: int) -> list[int]:
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return [pid]
    return [pid, *(one for child in children for one in _tree(child))]


def _memory(pid: int) -> int:
    """The proportional set size, in bytes; 0 for a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
