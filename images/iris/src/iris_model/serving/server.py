# SPDX-License-Identifier: Apache-2.0
"""The production server: gunicorn's threads, several processes, one set of metrics, an orderly end on SIGTERM."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from gunicorn.app.base import BaseApplication

from iris_model import IrisError
from iris_model.model import Model, verify

log = logging.getLogger("iris_model")

THREADS = 4
#: Seconds in which requests already begun are answered after SIGTERM; below the 30 that a deployment usually grants.
GRACE = 25
#: Seconds an idle connection is kept; longer than the proxy in front keeps it, so that the proxy is the one to close.
KEEP_ALIVE = 75


def serve(host: str, port: int, workers: int) -> None:
    """Serve the model in MODEL_DIR, or without that variable the champion in MLflow, until SIGTERM.

    Raises:
        IrisError: there is no champion, or the folder is not as it was sealed.
    """
    if not os.environ.get("MODEL_DIR"):
        _serve_champion()
    verify(Path(os.environ["MODEL_DIR"]))
    metrics = tempfile.mkdtemp(prefix="iris-metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics
    try:
        _Server(_settings(host, port, workers)).run()
    finally:
        shutil.rmtree(metrics, ignore_errors=True)


def _serve_champion() -> NoReturn:
    """Fetch the champion, and start again with it: a process that has used MLflow has threads, and must not fork."""
    try:
        from iris_model import tracking
    except ImportError as error:
        raise IrisError(f"set MODEL_DIR to a model's folder; to fetch one, MLflow is needed ({error})") from error
    version = tracking.champion(_name())
    if version is None:
        raise IrisError(f"model {_name()} has no champion yet: run `iris-model pipeline`, or set MODEL_DIR")
    folder = Path(tempfile.mkdtemp(prefix="iris-model-"))
    tracking.download(f"models:/{version.name}/{version.version}", folder)
    os.environ.update(MODEL_DIR=str(folder), MODEL_VERSION=str(version.version))
    os.execv(sys.executable, [sys.executable, "-m", "iris_model", *sys.argv[1:]])


def _name() -> str:
    return os.environ.get("MODEL_NAME") or "iris"


class _Server(BaseApplication):  # type: ignore[misc]
    """Gunicorn with its settings given as a dict, loading the model in each worker."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Return the application. Called after the fork, which ONNX Runtime's threads would not survive."""
        from iris_model.serving.app import Identity, create_app

        identity = Identity(
            name=_name(),
            version=os.environ.get("MODEL_VERSION") or "unknown",
            release=os.environ.get("RELEASE") or "unknown",
        )
        log.info("worker %d serves %s version %s", os.getpid(), identity.name, identity.version)
        return create_app(Model.load(Path(os.environ["MODEL_DIR"])), identity)


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
    """Take a dead worker's share out of the gauges and of the window that drift is measured over."""
    from prometheus_client import multiprocess

    from iris_model.serving.drift import ring_file

    multiprocess.mark_process_dead(worker.pid)
    ring_file(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]), worker.pid).unlink(missing_ok=True)
