# SPDX-License-Identifier: Apache-2.0
"""The production server: gunicorn's threads, several processes, one set of metrics, an orderly end on SIGTERM."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication

from iris_model import prediction
from iris_model.model import Model

log = logging.getLogger("iris_model")

THREADS = 4
#: Seconds in which requests already begun are answered after SIGTERM; below the 30 that a deployment usually grants.
GRACE = 25
#: Seconds an idle connection is kept; longer than the proxy in front keeps it, so that the proxy is the one to close.
KEEP_ALIVE = 75


class _Server(BaseApplication):  # type: ignore[misc]
    """Gunicorn with its settings given as a dict."""

    def __init__(self, application: Any, settings: dict[str, Any]) -> None:
        self._application = application
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return self._application


def serve(host: str, port: int, workers: int) -> None:
    """Serve the model in MODEL_DIR, or without that variable the champion in MLflow, until SIGTERM.

    The model is loaded before the first process is forked: a model that cannot be served ends the start with one clear
    message, and the processes share its memory.

    Raises:
        IrisError: the model cannot be loaded.
    """
    name = os.environ.get("MODEL_NAME") or "iris"
    model = _model(name)
    folder = tempfile.mkdtemp(prefix="iris-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    from iris_model.serving.app import Identity, create_app  # after the variable: prometheus_client reads it once

    identity = Identity(
        name=name,
        version=os.environ.get("MODEL_VERSION") or "unknown",
        release=os.environ.get("RELEASE") or "unknown",
    )
    log.info("serving %s version %s, release %s, on %s:%d", name, identity.version, identity.release, host, port)
    try:
        _Server(create_app(model, identity), _settings(host, port, workers)).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _model(name: str) -> Model:
    folder = os.environ.get("MODEL_DIR")
    return Model.load(Path(folder)) if folder else prediction.load(f"models:/{name}@champion")


def _settings(host: str, port: int, workers: int) -> dict[str, Any]:
    return {
        "bind": [f"{host}:{port}"],
        "workers": workers,
        "worker_class": "gthread",
        "threads": THREADS,
        "graceful_timeout": GRACE,
        "keepalive": KEEP_ALIVE,
        "control_socket_disable": True,
        "loglevel": "warning",
        "child_exit": _forget,
    }


def _forget(_server: Any, worker: Any) -> None:
    """Take a dead worker's share out of the gauges."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)
