# SPDX-License-Identifier: Apache-2.0
"""Drift: the index on numbers worked out by hand, the window that slides, and the windows of several workers."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from iris_model import data, distribution
from iris_model.model import Model
from iris_model.serving.counts import WINDOW, Counts
from iris_model.serving.metrics import ENOUGH, Metrics

NAMES = ["x", "y"]
#: Ten rows of training for x, none of which tell anything about y.
TRAINING = {"bins": {"x": {"edges": [1.0, 2.0], "rows": [2, 3, 5]}}}
METADATA = {"features": NAMES, "classes": ["a", "b"], "training": TRAINING}
WHO = {"name": "n", "version": "7", "release": "12", "digest": "d"}


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


def counts(folder: Path | None = None) -> Counts:
    return Counts(folder, 2, 2)


def samples(counted: Counts, metadata: dict[str, Any] = METADATA) -> dict[str, float]:
    found = {}
    for family in Metrics(counted, WHO, metadata).collect():
        for sample in family.samples:
            if sample.name.startswith("feature_drift"):
                found[sample.labels.get("feature", sample.name)] = sample.value
    return found


def rows(*values: float) -> NDArray[np.float32]:
    return np.array([[value, 0.0] for value in values], np.float32)


def test_few_rows_say_nothing_and_a_feature_without_bins_is_not_compared() -> None:
    counted = counts()
    counted.predicted([0], rows(*[1.5] * (ENOUGH - 1)))
    assert samples(counted) == {"feature_drift_rows": ENOUGH - 1}
    counted.predicted([0], rows(1.5))
    assert samples(counted).keys() == {"feature_drift_rows", "x"}
    assert samples(counted, {**METADATA, "training": {}}) == {"feature_drift_rows": ENOUGH}


@pytest.mark.parametrize("batch", [1, 7, WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW])
def test_the_window_slides(batch: int) -> None:
    counted = counts()
    counted.predicted([0], rows(*[9.0] * (WINDOW // 2)))
    sent = 0
    while sent < WINDOW:  # from here on nothing may be left of what was before
        counted.predicted([0], rows(*[0.5, 1.5, 1.5, 2.5, 2.5] * batch)[:batch])
        sent += batch
    observed = distribution.count(np.resize([0.5, 1.5, 1.5, 2.5, 2.5], batch)[-WINDOW:], [1.0, 2.0])
    found = samples(counted)
    assert found["feature_drift_rows"] == WINDOW
    if WINDOW % batch == 0:
        expected = distribution.stability_index(np.array([2, 3, 5]), observed * (WINDOW // batch))
        assert found["x"] == pytest.approx(expected)


def test_threads_lose_nothing() -> None:
    counted = counts()

    def work() -> None:
        for _ in range(100):
            counted.end(counted.begin(), "POST", "/predict", "200")
            counted.predicted([1, 0, 1], rows(1.5))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (mine,), _ = counted.all()
    assert mine["in_progress"] == 0
    assert mine["requests"].sum() == mine["buckets"].sum() == mine["written"] == 400
    assert mine["predictions"].tolist() == [400, 800]


@pytest.fixture
def other_worker(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Yield another process, which has counted 150 rows and is in the middle of a request."""
    script = f"""
        import numpy, pathlib
        from iris_model.serving.counts import Counts
        counts = Counts(pathlib.Path({str(tmp_path)!r}), 2, 2)
        counts.begin()
        counts.predicted([0] * 150, numpy.full((150, 2), 0.5, numpy.float32))
        print("done", flush=True)
        input()
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1] / "src")}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        yield process
        process.kill()


def test_all_workers_rows_are_one_window_and_a_dead_worker_counts_on_but_for_what_is_now(
    tmp_path: Path, other_worker: subprocess.Popen[bytes]
) -> None:
    counted = counts(tmp_path)
    counted.predicted([1] * 150, rows(*[1.5] * 50, *[2.5] * 100))
    expected = distribution.stability_index(np.array([2, 3, 5]), np.array([150, 50, 100]))
    assert samples(counted) == {"feature_drift_rows": 300, "x": pytest.approx(expected)}
    assert counted.all()[1]["in_progress"].sum() == 1
    other_worker.kill()
    other_worker.wait()
    assert samples(counted)["feature_drift_rows"] == 150
    ever, alive = counted.all()
    assert ever["predictions"].sum(axis=0).tolist() == [150, 150]
    assert alive["in_progress"].sum() == 0


def test_the_file_keeps_its_size(tmp_path: Path) -> None:
    counted = counts(tmp_path)
    (file,) = tmp_path.iterdir()
    size = file.stat().st_size
    for _ in range(5):
        counted.predicted([0], rows(*[1.5] * WINDOW))
    assert file.stat().st_size == size < 32_768


def test_counting_costs_less_than_the_model(model_folder: Path) -> None:
    """Compare with the model's own answer, which is the smallest part of a request that cannot be left out."""
    model = Model.load(model_folder)
    counted = Counts(None, 3, 4)
    row = np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)

    def count() -> None:
        begin = counted.begin()
        counted.predicted([0], row)
        counted.end(begin, "POST", "/predict", "200")

    def cost(call: Callable[[], object]) -> float:
        best = float("inf")
        for _ in range(20):
            begin = time.thread_time()
            for _ in range(200):
                call()
            best = min(best, time.thread_time() - begin)
        return best

    assert cost(count) < cost(lambda: model.predict(row))
