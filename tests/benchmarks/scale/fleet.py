# SPDX-License-Identifier: Apache-2.0
"""Hosts for site.yml: the rehearsal's bodies, without a cloud, and what a playbook on them took."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import shutil
import subprocess
import time
import typing as t
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.memory import Watch

from delivery import engine, images, secrets, site
from delivery.run import Run
from delivery.yard import ROOT, Yard
from rehearsal import bodies

LOGS = ROOT / ".cache/tests"
# Every host serves the app; the first does all the rest as well.
ALL_IN_ONE = ("tracking", "training", "monitoring")
FIRST_ADDRESS = 11


@dataclass(frozen=True)
class Task:
    """A task of a playbook: its play, its role ("" for the play's own), and the hosts that executed it.

    :ivar seconds: until the last host was done.
    :ivar hosts: the result of each host that did not skip it.
    """

    play: str
    role: str
    name: str
    seconds: float
    hosts: Mapping[str, dict[str, t.Any]]


@dataclass(frozen=True)
class Played:
    """What a playbook took.

    :ivar seconds: of the whole command, the start of its programs too.
    :ivar memory: the most memory of its processes together, in bytes; what they share counts once.
    """

    seconds: float
    memory: int
    tasks: Sequence[Task]
    changed: int


class Fleet:
    """Hosts that are there for a benchmark, and stay for the next one until they are removed.

    :ivar yard: names them, and keeps their key, inventory and secrets.
    """

    def __init__(self, name: str = "bench") -> None:
        self.yard = yard = Yard.named("rehearsal", name)
        self._run = Run(LOGS / f"benchmark-{name}.log")
        yard.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        secrets.ensure(yard.secrets)
        if not yard.private_key.exists():
            self._output("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(yard.private_key))
        network = yard.state / "network"
        if not network.exists():
            network.write_text(bodies.free_network())
        self._network = ipaddress.ip_network(network.read_text())

    def boot(self, count: int) -> Played:
        """Have `count` hosts, those that are there among them, and converge all on the images tagged `dev`."""
        engine.ensure(self._run, LOGS)
        images.build(self._run, ROOT, "dev")
        public_key = self.yard.private_key.with_suffix(".pub").read_text().strip()
        wanted = [
            bodies.Instance(f"i-{number:06}", f"host-{number}", self._address(number), str(self._network), public_key)
            for number in range(1, count + 1)
        ]
        image = images.build_host(self._run, ROOT)
        bodies.reconcile(self.yard.name, wanted, image, self.yard.known_hosts)
        self._write_inventory(count)
        return self.play("site.yml", "dev")

    def play(self, playbook: str, commit: str, *arguments: str, also: Mapping[str, str] | None = None) -> Played:
        """Run a playbook, a path or one of playbooks/, that delivers the images tagged `commit`.

        :param also: variables of its environment.
        :raises RuntimeError: it failed; the message is the end of what it printed.
        """
        command = site.command(self.yard, playbook, arguments)
        command[command.index(str(self.yard.inventory))] = str(self._inventory)
        environment = {
            **site.environment(self.yard, os.environ),
            "MODELYARD_COMMIT": commit,
            "MODELYARD_GRAFANA": "none",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            # It is the one that times tasks; the repository's own would print between its lines.
            "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.json",
            **(also or {}),
        }
        began = time.monotonic()
        with subprocess.Popen(
            command, cwd=self.yard.root, env=environment, stdout=subprocess.PIPE, text=True
        ) as running:
            assert running.stdout
            watch = Watch(running.pid, every=0.5)
            printed = running.stdout.read()
        seconds = time.monotonic() - began
        if running.returncode:
            raise RuntimeError(f"{playbook} failed: {printed[-6000:]}")
        report = _report(printed)
        tasks = [_task(play["play"]["name"], task) for play in report["plays"] for task in play["tasks"]]
        return Played(seconds, watch.most, tasks, sum(host["changed"] for host in report["stats"].values()))

    def play_unchanged(self, commit: str, also: Mapping[str, str] | None = None) -> Played:
        """Run site.yml where all of it is done already.

        :raises RuntimeError: it failed, or something changed.
        """
        played = self.play("site.yml", commit, also=also)
        if played.changed:
            raise RuntimeError(f"{played.changed} tasks changed something in a run that had nothing to do")
        return played

    def run(self, number: int, *command: str) -> str:
        """Run a command as root on a host, past the network; return its output."""
        return self._output("docker", "exec", f"{self.yard.name}-host-{number}-{number:06}", *command)

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Have every host reach nothing but its own network, which the controller is in."""
        routes = [self.run(number, "ip", "route", "show", "default").split() for number in self._numbers]
        for number in self._numbers:
            self.run(number, "ip", "route", "delete", "default")
        try:
            yield
        finally:
            for number, route in zip(self._numbers, routes, strict=True):
                self.run(number, "ip", "route", "add", *route)

    def remove(self) -> None:
        """Remove the hosts and all that was kept of them."""
        bodies.remove(self.yard.name)
        shutil.rmtree(self.yard.state, ignore_errors=True)

    @property
    def count(self) -> int:
        """How many hosts there are."""
        hosts = json.loads((self._inventory / "hosts.json").read_text())
        return len(hosts["all"]["children"]["app"]["hosts"])

    @property
    def _numbers(self) -> range:
        return range(1, self.count + 1)

    @property
    def _inventory(self) -> Path:
        return self.yard.state / "inventory"

    def _address(self, number: int) -> str:
        return str(self._network[FIRST_ADDRESS + number - 1])

    def _write_inventory(self, count: int) -> None:
        self._inventory.mkdir(exist_ok=True)
        variables = self._inventory / "group_vars"
        if not variables.is_symlink():
            variables.symlink_to(self.yard.inventory / "group_vars")
        hosts = {
            f"host-{number}": {
                "ansible_host": self._address(number),
                "aws_private_ip_address": self._address(number),
                "ansible_user": "admin",
            }
            for number in range(1, count + 1)
        }
        groups: dict[str, t.Any] = {"app": {"hosts": hosts}}
        groups |= {group: {"hosts": {"host-1": {}}} for group in ALL_IN_ONE}
        (self._inventory / "hosts.json").write_text(json.dumps({"all": {"children": groups}}))

    @staticmethod
    def _output(*command: str) -> str:
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _report(printed: str) -> dict[str, t.Any]:
    """Find the callback's JSON among the lines that actions print themselves."""
    report, _end = json.JSONDecoder().raw_decode(printed[f"\n{printed}".index("\n{\n") :])
    return dict(report)


def _task(play: str, found: dict[str, t.Any]) -> Task:
    role, separator, name = found["task"]["name"].partition(" : ")
    ran = {host: result for host, result in found["hosts"].items() if not result.get("skipped")}
    took = found["task"]["duration"]
    # A handler that nothing has notified begins, and never ends.
    begin, end = (datetime.datetime.fromisoformat(took.get(key, took["start"])) for key in ("start", "end"))
    seconds = (end - begin).total_seconds()
    return Task(play, role.rpartition(".")[2], name, seconds, ran) if separator else Task(play, "", role, seconds, ran)
