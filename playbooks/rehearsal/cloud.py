# SPDX-License-Identifier: Apache-2.0
"""The rehearsal's AWS: one moto server on a free loopback port, which lives from `make up` to `make down`.

Its state is memory only: stopping it is what removes the emulated cloud.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path

from delivery.errors import DeliveryError

REGION = "eu-central-1"
AMIS = Path(__file__).with_name("amis.json")
START_SECONDS = 60.0
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Cloud:
    """A running emulated cloud; `started` tells its process from a later one with the same number."""

    pid: int
    port: int
    started: int

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{_LOOPBACK}:{self.port}"


def start(state_dir: Path) -> Cloud:
    """Return the cloud of `state_dir`, started now unless it runs.

    :raises DeliveryError: it does not come up; the message has its last words.
    """
    alive = running(state_dir)
    if alive:
        return alive
    stop(state_dir)  # a process that no longer answers, or a record of one that is gone
    state_dir.mkdir(parents=True, exist_ok=True)
    log = state_dir / "cloud.log"
    port = _free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", _LOOPBACK, "-p", str(port)],
            env={**os.environ, "MOTO_AMIS_PATH": str(AMIS)},
            cwd=state_dir,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C that stops `make up` leaves the cloud for the next one
        )
    cloud = Cloud(pid=process.pid, port=port, started=_started(process.pid) or 0)
    _record(state_dir).write_text(json.dumps(asdict(cloud)))
    deadline = time.monotonic() + START_SECONDS
    while not _answers(cloud):
        if process.poll() is not None or time.monotonic() > deadline:
            stop(state_dir)
            last = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise DeliveryError(f"the emulated cloud did not come up on port {port}; the end of {log}:\n{last}")
        time.sleep(0.1)
    return cloud


def running(state_dir: Path) -> Cloud | None:
    """Return the cloud of `state_dir` if its process lives and answers."""
    cloud = _recorded(state_dir)
    return cloud if cloud and _lives(cloud) and _answers(cloud) else None


def stop(state_dir: Path, seconds: float = 10.0) -> bool:
    """End the cloud of `state_dir` and forget it; say whether there was a process to end."""
    cloud = _recorded(state_dir)
    lived = cloud is not None and _lives(cloud)
    if cloud and lived:
        os.kill(cloud.pid, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while _lives(cloud):
            if time.monotonic() > deadline:
                os.kill(cloud.pid, signal.SIGKILL)
                deadline += seconds
            time.sleep(0.05)
    _record(state_dir).unlink(missing_ok=True)
    return lived


def environment(cloud: Cloud) -> dict[str, str]:
    """Return what to add to an environment so that Terraform, boto3 and Ansible meet `cloud` and no real AWS.

    Everything is set that would win over it: a caller with a session of their own rehearses too. A profile cannot
    be overridden (no value of AWS_PROFILE goes with keys), so the caller's is taken out of this process.
    """
    os.environ.pop("AWS_PROFILE", None)
    direct = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), _LOOPBACK]))
    return {
        "AWS_ENDPOINT_URL": cloud.url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "rehearsal",
        "AWS_SECRET_ACCESS_KEY": "rehearsal",
        "AWS_SESSION_TOKEN": "",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": direct,
        "no_proxy": direct,
    }


def _record(state_dir: Path) -> Path:
    return state_dir / "cloud.json"


def _recorded(state_dir: Path) -> Cloud | None:
    try:
        return Cloud(**json.loads(_record(state_dir).read_text()))
    except (FileNotFoundError, ValueError, TypeError):  # absent, or cut short by a full disk
        return None


def _lives(cloud: Cloud) -> bool:
    return _started(cloud.pid) == cloud.started


def _started(pid: int) -> int | None:
    """Return when `pid` started, in the kernel's ticks; None when there is no such process or it is dead."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name in parentheses may hold blanks; the state is the first field after it, the start the twentieth.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def _answers(cloud: Cloud) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{cloud.url}/moto-api/data.json", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])
