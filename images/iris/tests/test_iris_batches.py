# SPDX-License-Identifier: Apache-2.0
"""What is asked at the same time is predicted in one call, and each gets its own."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from numpy.typing import NDArray

from iris_model.serving.batches import Batches

Rows = NDArray[np.float32]


def rows(*values: int) -> Rows:
    return np.array([[value] for value in values], np.float32)


def test_what_comes_in_one_turn_is_one_call_and_the_next_turn_another() -> None:
    calls: list[int] = []

    def predict(features: Rows) -> list[int]:
        calls.append(len(features))
        return [int(value) for (value,) in features]

    async def ask() -> list[list[int]]:
        batches = Batches(predict)
        first = await asyncio.gather(*map(batches.predict, (rows(1), rows(2, 3), rows(4))))
        return [*first, await batches.predict(rows(5))]

    assert asyncio.run(ask()) == [[1], [2, 3], [4], [5]]
    assert calls == [4, 1]


def test_a_model_that_fails_fails_for_all_who_asked_and_for_nobody_later() -> None:
    broken = True

    def predict(features: Rows) -> list[int]:
        if broken:
            raise ValueError("broken")
        return [0] * len(features)

    async def ask() -> list[list[int]]:
        nonlocal broken
        batches = Batches(predict)
        waiting = [asyncio.ensure_future(batches.predict(rows(n))) for n in range(2)]
        for one in waiting:
            with pytest.raises(ValueError, match="broken"):
                await one
        broken = False
        return [await batches.predict(rows(1))]

    assert asyncio.run(ask()) == [[0]]


def test_who_has_gone_away_takes_nothing_from_the_others() -> None:
    async def ask() -> list[int]:
        batches = Batches(lambda features: [int(value) for (value,) in features])
        gone, stays = batches.predict(rows(1)), batches.predict(rows(2))
        assert isinstance(gone, asyncio.Future)
        gone.cancel()
        return await stays

    assert asyncio.run(ask()) == [2]
