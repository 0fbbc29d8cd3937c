# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Work that goes on when whoever asked for it is gone: its progress and its result are in a file.

The file is held locked by the process that works, so that its death shows.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets as random
import signal
import time
import traceback
import typing as t

RUNS = "/run/modelyard/runs"

# How often a follower looks, and for how long it looks without news, in seconds.
INTERVAL = 0.05
PATIENCE = 20.0

# Results that nobody has fetched for so many seconds are thrown away.
KEPT = 3600.0

Result = dict[str, t.Any]
Tell = t.Callable[[str], None]


class Event(t.NamedTuple):
    """Something to tell: how many seconds after the beginning, and what."""

    seconds: float
    text: str


class Report(t.NamedTuple):
    """How a run goes: its new events, whether it is over, and with what; no result means that it died."""

    events: list[Event]
    over: bool
    result: Result | None


def start(work: t.Callable[[Tell], Result], folder: str = RUNS) -> str:
    """Begin work in a process of its own, out of reach of whatever ends this one; returns the run's name.

    :param work: gets a function to tell its progress with, and returns the result. It is called after a fork, so all
        that it needs must be imported already.
    """
    os.makedirs(folder, mode=0o700, exist_ok=True)
    _tidy(folder)
    name = random.token_hex(8)
    path = os.path.join(folder, name)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    if os.fork() == 0:
        _work(work, descriptor)
    os.close(descriptor)
    return name


def follow(name: str, seen: int, folder: str = RUNS, patience: float = PATIENCE) -> Report:
    """Wait for news of a run; what is over is forgotten with this.

    :param seen: how many events are known already.
    """
    path = os.path.join(folder, name)
    deadline = time.monotonic() + patience
    while True:
        over = _is_over(path)
        lines = _read(path)
        events = [Event(*line) for line in lines if isinstance(line, list)]
        if over:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return Report(events[seen:], True, next((line for line in lines if isinstance(line, dict)), None))
        if len(events) > seen or time.monotonic() > deadline:
            return Report(events[seen:], False, None)
        time.sleep(INTERVAL)


def _work(work: t.Callable[[Tell], Result], descriptor: int) -> t.NoReturn:
    """The new process: does not return."""
    try:
        os.setsid()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        begun = time.monotonic()

        def write(value: t.Any) -> None:
            os.write(descriptor, (json.dumps(value) + "\n").encode())

        try:
            write(work(lambda text: write([round(time.monotonic() - begun, 1), text])))
        except Exception:  # noqa: BLE001  (nobody else is there to tell)
            write({"failed": True, "msg": f"the run broke off:\n{traceback.format_exc()}"})
    finally:
        os._exit(0)


def _is_over(path: str) -> bool:
    """Whether the process that works is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _read(path: str) -> list[t.Any]:
    """The whole lines of a run's file."""
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as stream:
        return [json.loads(line) for line in stream.read().splitlines(keepends=True) if line.endswith("\n")]
    return []


def _tidy(folder: str) -> None:
    """Forget what nobody asked for."""
    for entry in os.scandir(folder):
        if time.time() - entry.stat().st_mtime > KEPT and _is_over(entry.path):
            os.unlink(entry.path)
