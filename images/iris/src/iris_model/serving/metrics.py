# SPDX-License-Identifier: Apache-2.0
"""What Prometheus is told, added up over all worker processes.

Import it only after `PROMETHEUS_MULTIPROC_DIR` is set (see server.py), as prometheus_client demands; without that
variable the numbers are those of one process, which is what tests want.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY as PROCESS_REGISTRY
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess
from prometheus_client.registry import Collector

#: The values that the label `endpoint` can have besides "other": whatever clients invent, the series stay few.
ENDPOINTS = frozenset({"/", "/health", "/metrics", "/openapi.json", "/predict", "/ready", "/version"})
METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})

REQUESTS = Counter("request_count", "Requests answered.", ["method", "endpoint", "status"])
IN_PROGRESS = Gauge("in_progress", "Requests being answered now.", multiprocess_mode="livesum")
LATENCY = Histogram(
    "request_latency_seconds",
    "Time from a request's arrival in the application to its answer.",
    ["endpoint"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
PREDICTIONS = Counter("predictions", "Rows predicted.", ["model_version", "label"])
MODEL_INFO = Gauge(
    "model_info", "The model that answers; always 1.", ["name", "version", "release", "digest"], multiprocess_mode="max"
)

StartResponse = Callable[..., Any]


class Measured:
    """A WSGI application whose requests are counted and timed."""

    def __init__(self, application: Callable[[dict[str, Any], StartResponse], Iterable[bytes]]) -> None:
        """Wrap an application."""
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request; the answers are small and never streamed, so it is over when this returns."""
        status = "500"

        def remember(line: str, *rest: Any) -> Any:
            nonlocal status
            status = line[:3]
            return start_response(line, *rest)

        path, method = environ.get("PATH_INFO", ""), environ.get("REQUEST_METHOD", "")
        endpoint = path if path in ENDPOINTS else "other"
        begin = time.perf_counter()
        IN_PROGRESS.inc()
        try:
            return self._application(environ, remember)
        finally:
            IN_PROGRESS.dec()
            LATENCY.labels(endpoint).observe(time.perf_counter() - begin)
            REQUESTS.labels(method if method in METHODS else "other", endpoint, status).inc()


def shared_folder() -> Path | None:
    """Return the folder in which all workers keep what they have measured, None for a process of its own."""
    return Path(folder) if (folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR")) else None


def exposition(drift: Collector) -> bytes:
    """Return all metrics of all workers, and those that are worked out only now, in Prometheus' text format."""
    registry = CollectorRegistry()
    if shared_folder():
        multiprocess.MultiProcessCollector(registry)
    else:
        registry.register(PROCESS_REGISTRY)
    registry.register(drift)
    text: bytes = generate_latest(registry)
    return text
