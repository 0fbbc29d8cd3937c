# SPDX-License-Identifier: Apache-2.0
"""Makes sure that this machine has a Docker engine, and finds a client that can build."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from .errors import DeliveryError
from .run import Run

# Debian's own engine: it needs no further package source, and the rehearsal needs no newer one.
PACKAGES = ("docker.io", "iptables")
QUIET = ("--quiet", "--no-install-recommends")


def ensure(run: Run, state: Path) -> None:
    """Install and start an engine where none answers. What was started is noted in `state`, for `stop`.

    :raises DeliveryError: the engine does not come up; the message names its log.
    """
    if answers():
        return
    if not shutil.which("dockerd", path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
        run.say("  no Docker engine here: installing Debian's")
        run.command([*_sudo(), "apt-get", "update", "--quiet"])
        run.command(
            [*_sudo(), "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes", *QUIET, *PACKAGES]
        )
    if Path("/run/systemd/system").is_dir():
        run.command([*_sudo(), "systemctl", "enable", "--now", "docker"])
        log = "journalctl -u docker"
    else:
        log = str(_start_daemon(state))
    deadline = time.monotonic() + 60
    while not answers():
        if time.monotonic() > deadline:
            raise DeliveryError(f"the Docker engine does not answer after 60 s: see {log}")
        time.sleep(0.5)


def answers() -> bool:
    """Say whether an engine answers the client on PATH."""
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "version"], capture_output=True).returncode == 0


def stop(state: Path) -> bool:
    """Stop the engine if `ensure` started it as a plain process and nobody runs anything on it."""
    pid_file = state.parent / "dockerd.pid"
    if not pid_file.exists() or not answers():
        return False
    if subprocess.run(["docker", "ps", "--quiet"], capture_output=True, text=True).stdout.strip():
        return False
    try:
        os.kill(int(pid_file.read_text()), signal.SIGTERM)
    except (ProcessLookupError, PermissionError, ValueError):
        return False
    finally:
        pid_file.unlink()
    return True


def builder() -> tuple[str, dict[str, str]]:
    """Return a Docker client that builds with BuildKit, and the environment that it wants.

    A client without the buildx plugin cannot, unless it is as old as Debian 12's, which has BuildKit built in.

    :raises DeliveryError: there is none.
    """
    candidates = [path for path in (shutil.which("docker"), "/usr/bin/docker") if path and Path(path).exists()]
    for client in dict.fromkeys(candidates):
        if subprocess.run([client, "buildx", "version"], capture_output=True).returncode == 0:
            return client, {"DOCKER_BUILDKIT": "1"}
        version = subprocess.run(
            [client, "version", "--format", "{{json .Client.Version}}"], capture_output=True, text=True
        )
        if version.returncode == 0 and int(json.loads(version.stdout).split(".")[0]) <= 20:
            return client, {"DOCKER_BUILDKIT": "1"}
    raise DeliveryError(
        "no Docker client with BuildKit here: install docker-buildx, docker-buildx-plugin or docker-cli"
    )


def _start_daemon(state: Path) -> Path:
    """Start dockerd as a daemon of its own, where no service manager does it."""
    log = state.parent / "dockerd.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*_sudo(), "dockerd"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    (state.parent / "dockerd.pid").write_text(f"{process.pid}\n")
    return log


def _sudo() -> list[str]:
    return [] if os.geteuid() == 0 else ["sudo", "-n"]
