# SPDX-License-Identifier: Apache-2.0
"""Predicting together what is asked at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
from numpy.typing import NDArray


class Batches:
    """Predicts in one call of the model for all that has arrived by the end of the event loop's turn.

    A call costs far more than a row: ONNX Runtime lets go of the interpreter's lock for it, and waits to get it back.
    Nobody waits for company, though: a query that comes alone is a batch of its own.
    """

    def __init__(self, predict: Callable[[NDArray[np.float32]], list[int]]) -> None:
        """Predict with this function, from rows to as many labels."""
        self._predict = predict
        self._waiting: list[tuple[NDArray[np.float32], asyncio.Future[list[int]]]] = []

    def predict(self, rows: NDArray[np.float32]) -> Awaitable[list[int]]:
        """Return the labels of some rows, which come when the batch does; to be called in a running event loop."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._run)
        future = loop.create_future()
        self._waiting.append((rows, future))
        return future

    def _run(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            labels = self._predict(np.concatenate([rows for rows, _ in waiting]))
        except Exception as error:  # noqa: BLE001 - it is raised where the labels are awaited
            for _, future in waiting:
                if not future.done():
                    future.set_exception(error)
            return
        begin = 0
        for rows, future in waiting:
            end = begin + len(rows)
            if not future.done():  # a client that went away meanwhile
                future.set_result(labels[begin:end])
            begin = end
