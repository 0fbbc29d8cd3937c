# SPDX-License-Identifier: Apache-2.0
"""The servers that are measured, each a process group of its own, and what they cost at rest."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from traffic import Target

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
BIN = ROOT / ".venv/iris/bin"
OURS = '{"features": [[5.1, 3.5, 1.4, 0.2]]}'
MLFLOWS = '{"inputs": [[5.1, 3.5, 1.4, 0.2]]}'


@dataclass(frozen=True)
class Contestant:
    """How a server is started.

    Attributes:
        command: with `{port}` where the port goes.
        ready: the path which answers 200 when it is ready; None where only the port can be asked.
        path: of the endpoint that predicts.
        body: a query of one row.
        env: more variables.
    """

    command: tuple[str, ...]
    ready: str | None
    path: str
    body: str
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """A server that runs.

    Attributes:
        target: what to ask of it.
        pid: of its first process.
        seconds: from its start until it was ready.
    """

    target: Target
    pid: int
    seconds: float

    @contextmanager
    def awake(self) -> Iterator[Target]:
        """Let a server run that `sleep` stopped, for as long as it is measured, and return what to ask of it.

        What idle servers do now and then costs the one that is measured a millisecond at its 99th percentile.
        """
        os.killpg(self.pid, signal.SIGCONT)
        try:
            yield self.target
        finally:
            self.sleep()

    def sleep(self) -> None:
        """Stop all processes of the server where they are."""
        os.killpg(self.pid, signal.SIGSTOP)

    def worker_memory(self) -> dict[str, float]:
        """Return the mean memory of a worker, in MB (10^6 bytes): `pss` with its part of what is shared, `uss` without.

        A server without worker processes is its own worker.
        """
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        workers = [pid for pid in children if "resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_text()]
        sums = [_rollup(int(pid)) for pid in workers or [str(self.pid)]]
        return {name: sum(one[name] for one in sums) / len(sums) for name in ("pss", "uss")}


def ours(store: Path, workers: int) -> Contestant:
    """Return our server, with the champion's folder."""
    command = (f"{BIN}/python", "-m", "iris_model", "serve", "--port", "{port}", "--workers", str(workers))
    return Contestant(command, "/ready", "/predict", OURS, {"MODEL_DIR": str(store / "model")})


def mlflows(model: str, workers: int) -> Contestant:
    """Return `mlflow models serve` of a registered model, without its access log, as ours is."""
    command = (f"{BIN}/mlflow", "models", "serve", "--env-manager", "local", "--model-uri", model, "--port", "{port}")
    return Contestant(
        (*command, "--workers", str(workers)), "/ping", "/invocations", MLFLOWS, {"UVICORN_ACCESS_LOG": "false"}
    )


def constant(what: str) -> Contestant:
    """Return one of the applications in constant.py."""
    return Contestant((f"{BIN}/python", str(HERE / "constant.py"), what, "{port}"), None, "/predict", OURS)


def environment(store: Path) -> dict[str, str]:
    """Return what all processes of the benchmark find in their environment."""
    return {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "images/iris/src"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_PYTHON_REFRESH": "quiet",
    }


@contextmanager
def running(contestant: Contestant, store: Path) -> Iterator[Running]:
    """Start a server, wait until it is ready, and end it afterwards.

    Raises:
        RuntimeError: it does not become ready.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [word.replace("{port}", str(port)) for word in contestant.command]
    begin = time.perf_counter()
    with (store / f"{port}.log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=store,
            env=environment(store) | dict(contestant.env),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while not _answers(port, contestant.ready):
            if process.poll() is not None or time.perf_counter() - begin > 120:
                raise RuntimeError(f"{' '.join(command)}: {(store / f'{port}.log').read_text()[-2000:]}")
            time.sleep(0.005)
        seconds = time.perf_counter() - begin
        yield Running(Target(port, contestant.path, contestant.body), process.pid, seconds)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        os.killpg(process.pid, signal.SIGCONT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(port: int, path: str | None) -> bool:
    try:
        if path is None:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _rollup(pid: int) -> dict[str, float]:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kibibytes = {name: int(value) for name, value in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)}
    private = kibibytes["Private_Clean"] + kibibytes["Private_Dirty"]
    return {"pss": kibibytes["Pss"] * 1024 / 1e6, "uss": private * 1024 / 1e6}
