# SPDX-License-Identifier: Apache-2.0
"""How far the rows asked about lately are from those that the model was trained on.

A request only copies its rows into a ring; counting and comparing is done when Prometheus asks. Each worker's ring is
a file of a fixed size that any worker can read, so the answer is the same whichever of them is asked.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from iris_model import distribution

#: The last rows of each worker that are compared: 16 KB for four features.
WINDOW = 1_000
#: Fewer rows than this say nothing: by chance alone the index of n rows in ten bins is about 9 / n.
ENOUGH = 100

_HEAD = np.dtype(np.int64).itemsize


def ring_file(folder: Path, pid: int) -> Path:
    """Return where a worker keeps its ring: rows ever written (int64), then WINDOW rows of float32."""
    return folder / f"drift-{pid}.ring"


class Drift(Collector):  # type: ignore[misc]
    """The population stability index of each feature, over the last rows of all workers."""

    def __init__(self, training: dict[str, Any], names: list[str], folder: Path | None) -> None:
        """Begin with an empty window.

        Args:
            training: what the model's metadata says of its training; without `bins` (older models) nothing is compared.
            names: the features, in the order of the columns.
            folder: where all workers' rings lie; None for a single process, which needs no file.
        """
        self._bins: dict[str, distribution.Bins] = training.get("bins", {})
        self._names = names
        self._folder = folder
        size = _HEAD + WINDOW * len(names) * np.dtype(np.float32).itemsize
        if folder is None:
            self._memory = mmap.mmap(-1, size)
        else:
            with ring_file(folder, os.getpid()).open("w+b") as file:
                file.truncate(size)
                self._memory = mmap.mmap(file.fileno(), size)
        self._written, self._ring = self._views(self._memory)
        self._lock = threading.Lock()

    def observe(self, features: NDArray[np.float32]) -> None:
        """Take rows, shape (n, columns), into the window, in place of the oldest ones."""
        features = features[-WINDOW:]
        with self._lock:
            begin = int(self._written[0]) % WINDOW
            fits = min(len(features), WINDOW - begin)
            self._ring[begin : begin + fits] = features[:fits]
            if fits < len(features):
                self._ring[: len(features) - fits] = features[fits:]
            self._written[0] += len(features)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the metrics. A row that is being replaced meanwhile may be half old and half new, which is harmless."""
        rows = np.concatenate([self._rows(memory) for memory in self._memories()])
        yield GaugeMetricFamily("feature_drift_rows", "Rows in the window that drift is measured over.", len(rows))
        drift = GaugeMetricFamily(
            "feature_drift_psi",
            "Population stability index of the rows in the window against the training rows.",
            labels=["feature"],
        )
        if len(rows) >= ENOUGH:
            for column, name in enumerate(self._names):
                if bins := self._bins.get(name):
                    observed = distribution.count(rows[:, column], bins["edges"])
                    drift.add_metric([name], distribution.stability_index(np.array(bins["rows"]), observed))
        yield drift

    def _memories(self) -> list[bytes | mmap.mmap]:
        """Return the rings of all workers. One that ends meanwhile takes its file with it."""
        if self._folder is None:
            return [self._memory]
        memories: list[bytes | mmap.mmap] = []
        for path in self._folder.glob("drift-*.ring"):
            try:
                memories.append(path.read_bytes())
            except FileNotFoundError:
                continue
        return memories

    def _rows(self, memory: bytes | mmap.mmap) -> NDArray[np.float32]:
        written, ring = self._views(memory)
        return ring[: int(written[0])]

    def _views(self, memory: bytes | mmap.mmap) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        ring = np.frombuffer(memory, np.float32, offset=_HEAD).reshape(WINDOW, len(self._names))
        return np.frombuffer(memory, np.int64, count=1), ring
