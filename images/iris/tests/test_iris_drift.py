# SPDX-License-Identifier: Apache-2.0
"""Drift: the index on numbers worked out by hand, the window that slides, and rings of several workers."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from iris_model import data, distribution
from iris_model.model import Model
from iris_model.serving.drift import ENOUGH, WINDOW, Drift, ring_file

NAMES = ["x", "y"]
#: Ten rows of training for x, none of which tell anything about y.
TRAINING = {"bins": {"x": {"edges": [1.0, 2.0], "rows": [2, 3, 5]}}}


def test_the_index_is_the_one_worked_out_by_hand() -> None:
    # With half a row more in each bin: 0.5 and 1.5 of 2 against 1.5 and 0.5 of 2. On paper:
    # (3/4 - 1/4) ln(0.75/0.25) + (1/4 - 3/4) ln(0.25/0.75) = ln 3 = 1.0986123
    index = distribution.stability_index(np.array([0, 1]), np.array([1, 0]))
    assert index == pytest.approx(1.0986123, abs=1e-7)
    # 1.5, 3.5, 5.5 of 10.5 against 9.5, 0.5, 0.5 of 10.5. On paper:
    # 8/10.5 ln(9.5/1.5) + 3/10.5 ln(3.5/0.5) + 5/10.5 ln(5.5/0.5) = 1.406344 + 0.555974 + 1.141855 = 3.104173
    index = distribution.stability_index(np.array([1, 3, 5]), np.array([9, 0, 0]))
    assert index == pytest.approx(3.104173, abs=1e-6)


def test_equal_shares_give_nothing() -> None:
    assert distribution.stability_index(np.array([4, 4]), np.array([400, 400])) == 0.0


def test_a_value_on_an_edge_belongs_below_it() -> None:
    values = np.array([0.5, 1.0, 1.5, 2.0, 2.5, 9.0], np.float32)
    assert distribution.count(values, [1.0, 2.0]).tolist() == [2, 2, 2]


def test_deciles_of_rows_with_equal_values_make_fewer_bins() -> None:
    bins = distribution.describe(np.array([0.2] * 50 + [1.0] * 50, np.float32))
    assert bins["edges"] == pytest.approx([0.2, 0.6, 1.0])
    assert bins["rows"] == [50, 0, 50, 0]
    even = distribution.describe(np.arange(100, dtype=np.float32))
    assert even["rows"] == [10] * 10


def test_the_training_rows_themselves_have_not_drifted(dataset: data.Dataset, model_folder: Path) -> None:
    bins = Model.load(model_folder).metadata["training"]["bins"]
    assert list(bins) == list(data.FEATURES)
    for column, name in enumerate(data.FEATURES):
        observed = distribution.count(dataset.features[:, column], bins[name]["edges"])
        assert observed.tolist() == bins[name]["rows"]


def samples(drift: Drift) -> dict[str, float]:
    found = {}
    for family in drift.collect():
        for sample in family.samples:
            found[sample.labels.get("feature", sample.name)] = sample.value
    return found


def rows(*values: float) -> NDArray[np.float32]:
    return np.array([[value, 0.0] for value in values], np.float32)


def test_few_rows_say_nothing_and_a_feature_without_bins_is_not_compared() -> None:
    drift = Drift(TRAINING, NAMES, None)
    drift.observe(rows(*[1.5] * (ENOUGH - 1)))
    assert samples(drift) == {"feature_drift_rows": ENOUGH - 1}
    drift.observe(rows(1.5))
    assert samples(drift).keys() == {"feature_drift_rows", "x"}
    older = Drift({}, NAMES, None)
    older.observe(rows(*[1.5] * ENOUGH))
    assert samples(older) == {"feature_drift_rows": ENOUGH}


@pytest.mark.parametrize("batch", [1, 7, WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW])
def test_the_window_slides(batch: int) -> None:
    drift = Drift(TRAINING, NAMES, None)
    drift.observe(rows(*[9.0] * (WINDOW // 2)))
    sent = 0
    while sent < WINDOW:  # from here on nothing may be left of what was before
        drift.observe(rows(*[0.5, 1.5, 1.5, 2.5, 2.5] * batch)[:batch])
        sent += batch
    observed = distribution.count(np.resize([0.5, 1.5, 1.5, 2.5, 2.5], batch)[-WINDOW:], [1.0, 2.0])
    found = samples(drift)
    assert found["feature_drift_rows"] == WINDOW
    if WINDOW % batch == 0:
        expected = distribution.stability_index(np.array([2, 3, 5]), observed * (WINDOW // batch))
        assert found["x"] == pytest.approx(expected)


def test_threads_lose_no_row() -> None:
    drift = Drift(TRAINING, NAMES, None)

    def work() -> None:
        for _ in range(100):
            drift.observe(rows(1.5))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert samples(drift)["feature_drift_rows"] == 400


@pytest.fixture
def other_worker(tmp_path: Path) -> int:
    """Let another process put 150 rows into its ring, and return its ID."""
    script = f"""
        import numpy, pathlib
        from iris_model.serving.drift import Drift
        drift = Drift({TRAINING!r}, {NAMES!r}, pathlib.Path({str(tmp_path)!r}))
        drift.observe(numpy.full((150, 2), 0.5, numpy.float32))
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1] / "src")}
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], env=environment)
    assert process.wait(timeout=30) == 0
    return process.pid


def test_all_workers_rows_are_one_window(tmp_path: Path, other_worker: int) -> None:
    drift = Drift(TRAINING, NAMES, tmp_path)
    drift.observe(rows(*[1.5] * 50, *[2.5] * 100))
    expected = distribution.stability_index(np.array([2, 3, 5]), np.array([150, 50, 100]))
    assert samples(drift) == {"feature_drift_rows": 300, "x": pytest.approx(expected)}
    ring_file(tmp_path, other_worker).unlink()  # as the server does when a worker has ended
    assert samples(drift)["feature_drift_rows"] == 150


def test_the_ring_keeps_its_size(tmp_path: Path) -> None:
    drift = Drift(TRAINING, NAMES, tmp_path)
    for _ in range(5):
        drift.observe(rows(*[1.5] * WINDOW))
    assert ring_file(tmp_path, os.getpid()).stat().st_size == 8 + WINDOW * 2 * 4


def test_a_row_costs_next_to_nothing(model_folder: Path) -> None:
    """Compare with the model's own answer, which is the smallest part of a request that cannot be left out."""
    model = Model.load(model_folder)
    drift = Drift(model.metadata["training"], list(data.FEATURES), None)
    row = np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)

    def cost(call: Callable[[NDArray[np.float32]], object]) -> float:
        best = float("inf")
        for _ in range(20):
            begin = time.perf_counter()
            for _ in range(200):
                call(row)
            best = min(best, time.perf_counter() - begin)
        return best

    assert cost(drift.observe) < cost(model.predict)
