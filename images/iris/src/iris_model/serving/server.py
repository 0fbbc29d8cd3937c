# SPDX-License-Identifier: Apache-2.0
"""The production server: Granian's workers, one set of metrics, an orderly end on SIGTERM."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import NoReturn

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels

from iris_model import IrisError
from iris_model.model import Model, verify

# Imported before the workers are forked, so that they share its memory and need not read it each.
from iris_model.serving.app import Identity, create_app
from iris_model.serving.express import Express

log = logging.getLogger("iris_model")

#: Seconds in which requests already begun are answered after SIGTERM; below the 30 that a deployment usually grants.
GRACE = 25
#: Bytes that the head of a request may have.
MAX_HEAD = 32 * 1024


def serve(host: str, port: int, workers: int) -> None:
    """Serve the model in MODEL_DIR, or without that variable the champion in MLflow, until SIGTERM.

    Raises:
        IrisError: there is no champion, the folder is not as it was sealed, or the port is taken.
    """
    if not os.environ.get("MODEL_DIR"):
        _serve_champion()
    verify(Path(os.environ["MODEL_DIR"]))
    _check_free(host, port)
    shared = Path(tempfile.mkdtemp(prefix="iris-shared-"))
    server = granian(host, port, workers)
    try:
        server.serve(target_loader=partial(_load, shared), wrap_loader=False)
    finally:
        shutil.rmtree(shared, ignore_errors=True)


def granian(host: str, port: int, workers: int) -> Granian:
    """Return the server, with the settings that we serve with."""
    return Granian(
        "iris_model",
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        loop=Loops.uvloop,
        websockets=False,
        workers=workers,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(max_buffer_size=MAX_HEAD),
        log_level=LogLevels.error,
        log_access=bool(os.environ.get("ACCESS_LOG")),
        respawn_failed_workers=True,
        workers_kill_timeout=GRACE,
    )


def _load(shared: Path) -> Express:
    """Return a worker's application. ONNX Runtime's threads would not survive a fork, so the model is loaded here."""
    # Until Granian sets its own, a worker has its parent's handler, which only makes a note: it would never end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    identity = Identity(
        name=_name(),
        version=os.environ.get("MODEL_VERSION") or "unknown",
        release=os.environ.get("RELEASE") or "unknown",
    )
    app = create_app(Model.load(Path(os.environ["MODEL_DIR"])), identity, shared)
    # What is loaded by now stays: looking through it again and again is what the slowest requests would wait for.
    gc.freeze()
    log.info("worker %d serves %s version %s", os.getpid(), identity.name, identity.version)
    return app


def _check_free(host: str, port: int) -> None:
    """Refuse a port on which somebody listens: Granian would share it, if that is another Granian.

    Raises:
        IrisError: it is taken, or not ours to take.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise IrisError(f"cannot listen on {host} port {port}: {error.strerror}; choose another PORT") from error


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
