# SPDX-License-Identifier: Apache-2.0
"""Makes sure that this machine has a Docker engine, and finds a client that can build."""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from . import packages
from .errors import DeliveryError
from .run import Run

# Debian's own engine: it needs no further package source, and the rehearsal needs no newer one.
PACKAGES = ("docker.io", "iptables")
# A killed daemon leaves these, and the next one refuses to start while any process has the number, a zombie too.
PID_FILES = {
    Path("/var/run/docker.pid"): "dockerd",
    Path("/var/run/docker/containerd/containerd.pid"): "containerd",
}
# Set for the one new start that a new group needs.
REGROUPED = "MODELYARD_REGROUPED"


def ensure(run: Run, state: Path) -> None:
    """Have an engine that this user may use: install and start one where none answers, join its group if need be.

    What was started is noted beside `state`, for `stop`.

    :raises DeliveryError: the engine does not come up; the message names its log.
    """
    if answers():
        return
    if not answers(packages.sudo()):
        _install_and_start(run, state)
    if not answers():
        _go_on_in_group()


def answers(sudo: Sequence[str] = ()) -> bool:
    """Say whether an engine answers the client on PATH."""
    if not shutil.which("docker"):
        return False
    return subprocess.run([*sudo, "docker", "version"], capture_output=True).returncode == 0


def stop(state: Path) -> bool:
    """Stop the engine if `ensure` started it as a plain process and nobody runs anything on it."""
    pid_file = state.parent / "dockerd.pid"
    if not pid_file.exists() or not answers():
        return False
    if subprocess.run(["docker", "ps", "--quiet"], capture_output=True, text=True).stdout.strip():
        return False
    pid = pid_file.read_text().strip()
    pid_file.unlink()
    return subprocess.run([*packages.sudo(), "kill", pid], capture_output=True).returncode == 0


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


def _install_and_start(run: Run, state: Path) -> None:
    if not shutil.which("dockerd", path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
        run.say("  no Docker engine here: installing Debian's")
        packages.install(run, *PACKAGES)
    if Path("/run/systemd/system").is_dir():
        run.command([*packages.sudo(), "systemctl", "enable", "--now", "docker"])
        log = "journalctl -u docker"
    else:
        log = str(_start_daemon(state))
    deadline = time.monotonic() + 60
    while not answers(packages.sudo()):
        if time.monotonic() > deadline:
            raise DeliveryError(f"the Docker engine does not answer after 60 s: see {log}")
        time.sleep(0.5)


def _go_on_in_group() -> None:
    """Start this very command again as a member of the group that may use the engine.

    :raises DeliveryError: that was done already, and did not help.
    """
    user = pwd.getpwuid(os.geteuid()).pw_name
    if os.environ.get(REGROUPED):
        raise DeliveryError(
            f"the Docker engine refuses {user}: join its group (usermod -aG docker {user}), then log in"
        )
    subprocess.run([*packages.sudo(), "usermod", "--append", "--groups", "docker", user], check=True)
    os.environ[REGROUPED] = "1"
    os.execvp("sg", ["sg", "docker", "-c", shlex.join([sys.executable, *sys.orig_argv[1:]])])


def _start_daemon(state: Path) -> Path:
    """Start dockerd as a daemon of its own, where no service manager does it."""
    for pid_file, name in PID_FILES.items():
        if pid_file.exists() and not _runs(pid_file.read_text().strip(), name):
            subprocess.run([*packages.sudo(), "rm", "--force", pid_file], check=True)
    log = state.parent / "dockerd.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*packages.sudo(), "dockerd"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    (state.parent / "dockerd.pid").write_text(f"{process.pid}\n")
    return log


def _runs(pid: str, name: str) -> bool:
    """Say whether process `pid` is a living `name`, not a dead one that nobody reaped nor another of that number."""
    try:
        before, _, after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except OSError:
        return False
    return before.partition("(")[2] == name and after.split()[0] not in "ZX"
