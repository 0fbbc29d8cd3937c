# SPDX-License-Identifier: Apache-2.0
"""What Prometheus is told: the counts of all workers, and how far the rows of late are from those of the training."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from iris_model import distribution
from iris_model.serving.counts import BOUNDS, ENDPOINTS, METHODS, STATUSES, Counts, window

#: Fewer rows than this say nothing of drift: by chance alone the index of n rows in ten bins is about 9 / n.
ENOUGH = 100


class Metrics(Collector):  # type: ignore[misc]
    """The service's metrics, worked out when they are asked for."""

    def __init__(self, counts: Counts, who: dict[str, str], metadata: dict[str, Any]) -> None:
        """Describe one model's service.

        Args:
            counts: what the workers count.
            who: the labels of `model_info`: name, version, release and digest of what answers.
            metadata: the model's; a feature of which `training` has no `bins` (older models) is not compared.
        """
        self._counts = counts
        self._who = who
        self._classes: list[str] = metadata["classes"]
        self._features: list[str] = metadata["features"]
        self._bins: dict[str, distribution.Bins] = metadata["training"].get("bins", {})
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        text: bytes = generate_latest(self._registry)
        return text

    def describe(self) -> list[Any]:
        """Promise nothing: without this, registering would collect once."""
        return []

    def collect(self) -> Iterator[Any]:
        """Yield the metrics."""
        ever, alive = self._counts.all()
        yield _requests(ever["requests"].sum(axis=0))
        yield GaugeMetricFamily("in_progress", "Requests being answered now.", int(alive["in_progress"].sum()))
        yield _latencies(ever["buckets"].sum(axis=0), ever["seconds"].sum(axis=0))
        yield self._predictions(ever["predictions"].sum(axis=0))
        info = GaugeMetricFamily("model_info", "The model that answers; always 1.", labels=list(self._who))
        info.add_metric(list(self._who.values()), 1)
        yield info
        rows = window(alive)
        yield GaugeMetricFamily("feature_drift_rows", "Rows in the window that drift is measured over.", len(rows))
        yield self._drift(rows)

    def _predictions(self, rows: NDArray[np.int64]) -> CounterMetricFamily:
        family = CounterMetricFamily("predictions", "Rows predicted.", labels=["model_version", "label"])
        for name, count in zip(self._classes, rows.tolist(), strict=True):
            family.add_metric([self._who["version"], name], count)
        return family

    def _drift(self, rows: NDArray[np.float32]) -> GaugeMetricFamily:
        family = GaugeMetricFamily(
            "feature_drift_psi",
            "Population stability index of the rows in the window against the training rows.",
            labels=["feature"],
        )
        if len(rows) >= ENOUGH:
            for column, name in enumerate(self._features):
                if bins := self._bins.get(name):
                    observed = distribution.count(rows[:, column], bins["edges"])
                    family.add_metric([name], distribution.stability_index(np.array(bins["rows"]), observed))
        return family


def _requests(counts: NDArray[np.int64]) -> CounterMetricFamily:
    family = CounterMetricFamily("request_count", "Requests answered.", labels=["method", "endpoint", "status"])
    for method, endpoint, status in np.argwhere(counts):
        labels = [METHODS[method], ENDPOINTS[endpoint], STATUSES[status]]
        family.add_metric(labels, int(counts[method, endpoint, status]))
    return family


def _latencies(buckets: NDArray[np.int64], seconds: NDArray[np.float64]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(
        "request_latency_seconds",
        "Time from a request's arrival in the application to its answer.",
        labels=["endpoint"],
    )
    bounds = [*map(str, BOUNDS), "+Inf"]
    for endpoint, counts, total in zip(ENDPOINTS, buckets.tolist(), seconds.tolist(), strict=True):
        if any(counts):
            family.add_metric([endpoint], list(zip(bounds, accumulate(counts), strict=True)), total)
    return family
