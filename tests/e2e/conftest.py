# SPDX-License-Identifier: Apache-2.0
"""A yard of its own, delivered by `make up` as a person would, and taken down at the end."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shlex
import signal
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import executed
import pytest
import yaml
from receiver import Receiver

from delivery import bucket
from delivery.yard import ROOT
from rehearsal import cloud

# Each clone on a machine tests in a yard of its own, at the same time if need be.
NAME = f"e2e-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:6]}"
FLOWER = {"features": [[5.1, 3.5, 1.4, 0.2]]}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, whatever its status."""

    status: int
    body: str
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class E2EYard:
    """The delivered yard as its user sees it: make verbs, HTTP, and SSH to its host."""

    name: str
    root: Path
    receiver: Receiver
    address: str = ""  # of the host that does everything
    first_output: str = ""
    interrupted_output: str = ""

    @property
    def state(self) -> Path:
        return self.root / ".modelyard" / self.name

    @property
    def settings(self) -> dict[str, str]:
        """What makes the yard this one, and is given to every verb."""
        return {"YARD": self.name, "ENV": "rehearsal", "ALERTS": self.receiver.url}

    def command(self, verb: str, *arguments: str) -> list[str]:
        """Return the command that runs a verb of the Makefile on this yard."""
        return ["make", verb, *(f"{name}={value}" for name, value in self.settings.items()), *arguments]

    def make(self, verb: str, *arguments: str, expect: int | None = 0) -> str:
        """Run a verb of the Makefile on this yard and return what it printed."""
        done = subprocess.run(
            self.command(verb, *arguments),
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        print(done.stdout)
        if expect is not None:
            assert done.returncode == expect, done.stdout[-6000:]
        return done.stdout

    def http(
        self,
        path: str,
        *,
        body: Any = None,
        login: bool = False,
        scheme: str = "http",
        timeout: float = 10,
        host: str = "",
    ) -> Answer:
        """Ask the ingress of the yard's host, or of the one at an address."""
        request = urllib.request.Request(f"{scheme}://{host or self.address}{path}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if login:
            token = base64.b64encode(f"admin:{self.secrets['modelyard_admin_password']}".encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        # The rehearsal's certificate is signed by itself.
        context = ssl._create_unverified_context() if scheme == "https" else None
        try:
            with urllib.request.urlopen(request, timeout=timeout, context=context) as response:
                return Answer(response.status, response.read().decode(), dict(response.headers))
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read().decode(), dict(error.headers))

    def predict(self, host: str = "") -> Answer:
        """Ask for a prediction that is [0]."""
        return self.http("/predict", body=FLOWER, host=host)

    def ssh(self, command: str, given: str = "") -> str:
        """Run a shell command as root on the yard's host, `given` as its input, and return its output."""
        options = ["-i", str(self.state / "id_ed25519"), "-o", f"UserKnownHostsFile={self.state / 'known_hosts'}"]
        done = subprocess.run(
            ["ssh", *options, "-o", "BatchMode=yes", f"admin@{self.address}", f"sudo bash -c {shlex.quote(command)}"],
            input=given,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def canaries(self) -> list[tuple[str, str]]:
        """Return what must be seen nowhere: each secret's name, and its text; of a key each line."""
        return [
            (name, line)
            for name, secret in self.secrets.items()
            for line in secret.rpartition("-END CERTIFICATE-----\n")[2].splitlines()
            if not line.startswith("-----")
        ]

    @property
    def secrets(self) -> dict[str, str]:
        loaded: dict[str, str] = yaml.safe_load((self.state / "secrets.yml").read_text())
        return loaded

    def run_count(self) -> int:
        """Return how many runs MLflow knows."""
        api = "/mlflow/api/2.0/mlflow"
        found = self.http(f"{api}/experiments/search?max_results=100", scheme="https", login=True).json
        query = {"experiment_ids": [one["experiment_id"] for one in found["experiments"]], "max_results": 1000}
        return len(self.http(f"{api}/runs/search", body=query, scheme="https", login=True).json.get("runs", []))

    def champion(self) -> str:
        """Return the version of the model that MLflow calls the champion."""
        path = "/mlflow/api/2.0/mlflow/registered-models/alias?name=iris&alias=champion"
        return str(self.http(path, scheme="https", login=True).json["model_version"]["version"])

    def ec2(self) -> Any:
        """Return a client of the yard's cloud."""
        running = cloud.running(self.state)
        assert running is not None
        return bucket.client("ec2", cloud.environment(running))

    def instances(self) -> dict[str, tuple[str, str]]:
        """Return the IDs and addresses of the instances that run, by name."""
        running = [{"Name": "instance-state-name", "Values": ["running"]}]
        found = self.ec2().describe_instances(Filters=running)["Reservations"]
        return {
            tag["Value"]: (one["InstanceId"], one["PrivateIpAddress"])
            for reservation in found
            for one in reservation["Instances"]
            for tag in one["Tags"]
            if tag["Key"] == "Name"
        }

    def recap(self) -> dict[str, int]:
        """Return how many tasks changed something in the last playbook that ran, by host."""
        log = (self.state / "delivery.log").read_text()
        last = log.rpartition("PLAY RECAP")[2]
        return {
            host: int(changed) for host, changed in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", last, re.MULTILINE)
        }

    def executed(self) -> dict[str, int]:
        """Return how many tasks each role executed in the last playbook that ran, on the host with most of them."""
        log = (self.state / "delivery.log").read_text()
        return executed.by_role(log.split("PLAY RECAP")[-2])


class Requests:
    """Asks for predictions, one after another, while something else goes on."""

    def __init__(self, yard: E2EYard) -> None:
        self.count = 0
        self.failures: list[str] = []
        self._yard = yard
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Requests:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._stop.is_set():
            self.count += 1
            try:
                answer = self._yard.predict()
                if answer.status != 200:
                    self.failures.append(f"{answer.status} {answer.body[:200]}")
            except OSError as error:
                self.failures.append(repr(error))
            time.sleep(0.05)


@pytest.fixture
def requests(yard: E2EYard) -> Requests:
    """Return what sends predictions while it is entered, and notes each that fails."""
    return Requests(yard)


@pytest.fixture(scope="session")
def yard() -> Iterator[E2EYard]:
    """Deliver, lend the yard to the tests, take it down, and see that nothing is left."""
    with Receiver() as receiver:
        yield from _delivered(E2EYard(NAME, ROOT, receiver))


def _delivered(one: E2EYard) -> Iterator[E2EYard]:
    one.make("down", expect=None)  # what a run that was killed may have left
    before = _docker_things()
    try:
        one.interrupted_output = _interrupted_up(one)
        # Told to say all that it can, for no secret to be in it.
        one.first_output = one.make("up", "ARGS=-vvv --diff")
        one.address = str(json.loads((one.state / "summary.json").read_text())["tracking"])
        yield one
    finally:
        pid = _cloud_pid(one.state)
        one.make("down")
    assert not one.state.exists()
    assert not _runs(pid), "the emulated cloud still runs"
    left = {thing for thing in _docker_things() - before if NAME in thing}
    assert left == set(), "make down left these behind"


def _interrupted_up(one: E2EYard) -> str:
    """Start `make up`, press Ctrl-C while Terraform is at work, and return what was printed."""
    process = subprocess.Popen(
        # Whoever runs tests in the background has Ctrl-C ignored, and passes that on.
        ["env", "--default-signal=INT", *one.command("up")],
        cwd=one.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    log = one.state / "delivery.log"
    deadline = time.monotonic() + 180
    while not (log.exists() and "aws_vpc" in log.read_text()):
        assert time.monotonic() < deadline, "Terraform did not start"
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=90)
    assert process.returncode != 0
    return output


def _cloud_pid(state: Path) -> int | None:
    record = state / "cloud.json"
    return int(json.loads(record.read_text())["pid"]) if record.exists() else None


def _runs(pid: int | None) -> bool:
    """Say whether a process runs; one that only waits to be reaped does not."""
    try:
        return pid is not None and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _docker_things() -> set[str]:
    """Return the names of all containers and networks on this machine's engine."""
    things: set[str] = set()
    for command in (
        ["ps", "--all", "--format", "container {{.Names}}"],
        ["network", "ls", "--format", "network {{.Name}}"],
    ):
        done = subprocess.run(["docker", *command], capture_output=True, text=True, env=dict(os.environ))
        things |= set(done.stdout.split("\n")) - {""}
    return things
