# SPDX-License-Identifier: Apache-2.0
"""What a worker counts and the rows that it saw last: numbers in a file of fixed size that every worker can read.

A request only adds to memory; adding up over the workers is done when Prometheus asks, whichever of them it asks.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

#: What the labels of a request can be besides "other": whatever clients invent, the series stay few.
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "other")
ENDPOINTS = ("/", "/health", "/metrics", "/openapi.json", "/predict", "/ready", "/version", "other")
STATUSES = ("200", "400", "404", "405", "413", "415", "422", "500", "other")
#: Upper bounds of the latencies' buckets, in seconds; one more bucket takes what is slower.
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
#: The last rows of each worker that drift is measured over: 16 KB for four features.
WINDOW = 1_000

_METHOD, _ENDPOINT, _STATUS = ({name: n for n, name in enumerate(names)} for names in (METHODS, ENDPOINTS, STATUSES))
_OTHER_METHOD, _OTHER_ENDPOINT, _OTHER_STATUS = _METHOD["other"], _ENDPOINT["other"], _STATUS["other"]


def layout(classes: int, features: int) -> np.dtype[np.void]:
    """Return what lies where in a worker's file."""
    return np.dtype(
        [
            ("in_progress", np.int64),
            ("requests", np.int64, (len(METHODS), len(ENDPOINTS), len(STATUSES))),
            ("seconds", np.float64, len(ENDPOINTS)),
            ("buckets", np.int64, (len(ENDPOINTS), len(BOUNDS) + 1)),
            ("predictions", np.int64, classes),
            ("written", np.int64),
            ("window", np.float32, (WINDOW, features)),
        ]
    )


class Counts:
    """This worker's numbers, and a view of all workers'."""

    def __init__(self, folder: Path | None, classes: int, features: int) -> None:
        """Begin with nothing counted.

        Args:
            folder: where all workers' files lie; None for a single process, which needs no file.
            classes: how many labels the model has.
            features: how many columns a row has.
        """
        self._folder = folder
        self._layout = layout(classes, features)
        if folder is None:
            memory = mmap.mmap(-1, self._layout.itemsize)
        else:
            # Not emptied: the number may have been that of a worker which died, and counters never go back.
            with (folder / f"{os.getpid()}.counts").open("a+b") as file:
                file.truncate(self._layout.itemsize)
                memory = mmap.mmap(file.fileno(), self._layout.itemsize)
        self._own = np.frombuffer(memory, self._layout)
        self._window = self._own[0]["window"]
        # The same memory as plain cells: adding to one that NumPy gives costs five times as much.
        self._integers, self._reals = memoryview(memory).cast("q"), memoryview(memory).cast("d")
        first = {name: offset // 8 for name, (_, offset, *_) in (self._layout.fields or {}).items()}
        self._in_progress, self._requests, self._seconds = first["in_progress"], first["requests"], first["seconds"]
        self._buckets, self._predictions, self._written = first["buckets"], first["predictions"], first["written"]
        self._lock = threading.Lock()

    def begin(self) -> float:
        """Count a request that has arrived, and return the time, for `end`."""
        with self._lock:
            self._integers[self._in_progress] += 1
        return time.perf_counter()

    def end(self, begin: float, method: str, path: str, status: str) -> None:
        """Count a request that is answered."""
        seconds = time.perf_counter() - begin
        endpoint = _ENDPOINT.get(path, _OTHER_ENDPOINT)
        request = (_METHOD.get(method, _OTHER_METHOD) * len(ENDPOINTS) + endpoint) * len(STATUSES)
        request += self._requests + _STATUS.get(status, _OTHER_STATUS)
        bucket = self._buckets + endpoint * (len(BOUNDS) + 1) + bisect_left(BOUNDS, seconds)
        with self._lock:
            self._integers[self._in_progress] -= 1
            self._integers[request] += 1
            self._reals[self._seconds + endpoint] += seconds
            self._integers[bucket] += 1

    def predicted(self, labels: list[int], rows: NDArray[np.float32]) -> None:
        """Count labels, and take the rows, shape (n, features), into the window, in place of the oldest ones."""
        last = rows[-WINDOW:]
        with self._lock:
            for label in set(labels):
                self._integers[self._predictions + label] += labels.count(label)
            begin = self._integers[self._written] % WINDOW
            fits = min(len(last), WINDOW - begin)
            self._window[begin : begin + fits] = last[:fits]
            if fits < len(last):
                self._window[: len(last) - fits] = last[fits:]
            self._integers[self._written] += len(last)

    def all(self) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Return the numbers of all workers there ever were, and of those that are alive, in the form of `layout`.

        A number that is being changed meanwhile may be the old or the new one, which is harmless.
        """
        if self._folder is None:
            return self._own, self._own
        found = [(_alive(int(path.stem)), path.read_bytes()) for path in self._folder.glob("*.counts")]
        return self._join(content for _, content in found), self._join(content for alive, content in found if alive)

    def _join(self, contents: Iterator[bytes]) -> NDArray[np.void]:
        return np.frombuffer(b"".join(contents), self._layout)


def window(workers: NDArray[np.void]) -> NDArray[np.float32]:
    """Return the rows of the workers' windows as one, shape (n, features)."""
    return np.concatenate([worker["window"][: int(worker["written"])] for worker in workers])


def _alive(pid: int) -> bool:
    """Return whether a worker runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
