# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with a release or around it: the old one serves on, and the message says what it was."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import CONVERGE, play

from .machine import Machine, shop

LONG_AGO = "2020-01-01T00:00:00.000Z"

numbers = itertools.count(1)


def new(version: int = 2, **env: object) -> dict[str, Any]:
    """A release that was never there."""
    return shop(version, FAULT=next(numbers), **env)


def refuse(machine: Machine, release: dict[str, Any]) -> dict[str, Any]:
    """Deploy what cannot work; whatever it is, what served before does so still, alone."""
    before = machine.assert_tidy()
    (result,) = machine.release(release)
    assert result.get("failed"), result
    assert machine.assert_tidy() == before
    return result


def deploy(machine: Machine, release: dict[str, Any]) -> None:
    (result,) = machine.release(release)
    assert not result.get("failed"), result
    assert machine.assert_tidy() == result["release"]


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize(
    ("release", "message"),
    [
        (new(BEHAVIOUR="exits"), "refused at the step gate: the container has stopped, exit code 3"),
        ({**new(BEHAVIOUR="never ready"), "gate": {"in_a_row": 1, "budget": 5}}, "answered 503 instead of 200"),
        (new(BEHAVIOUR="hungry"), "exit code 137"),
        ({**new(BEHAVIOUR="unready later", AFTER=1), "watch": {"seconds": 3}}, "taken back after the switch"),
        ({**new(BEHAVIOUR="dies later", AFTER=1), "watch": {"seconds": 3}}, "taken back after the switch"),
    ],
    ids=["exits", "never ready", "out of memory", "unready in the watch", "dies in the watch"],
)
def test_a_bad_release_does_not_serve(machine: Machine, release: dict[str, Any], message: str) -> None:
    result = refuse(machine, release)
    assert message in result["msg"]
    if release["env"]["BEHAVIOUR"] == "exits":
        assert "the shop is closed for ever" in result["log"]


@pytest.mark.usefixtures("serving")
def test_two_at_once_are_one_after_the_other(machine: Machine) -> None:
    slow = machine.python("driver.py", "stop-at", "gate", json.dumps(new()))
    (second,) = machine.release(new())
    assert second["failed"]
    assert f"is being deployed by proof (process {slow['pid']})" in second["msg"]
    machine.sh(f"kill -CONT {slow['pid']}")
    machine.settle()
    assert machine.assert_tidy() == slow["release"]


@pytest.mark.usefixtures("serving")
def test_the_lock_of_a_dead_owner_is_free(machine: Machine) -> None:
    ghost = {"owner": "ghost", "pid": 999999, "since": LONG_AGO, "expires": LONG_AGO}
    machine.sh(f"echo '{json.dumps(ghost)}' > /var/lib/modelyard/apps/shop/lock")
    deploy(machine, new())


@pytest.mark.usefixtures("serving")
def test_the_lock_of_a_run_that_hangs_can_be_broken(machine: Machine) -> None:
    hanging = machine.python("driver.py", "stop-at", "gate", json.dumps(new()))
    lock = "/var/lib/modelyard/apps/shop/lock"
    text = {**machine.json(lock), "expires": LONG_AGO}
    machine.sh(f"echo '{json.dumps(text)}' > {lock}")
    (refused,) = machine.release(new())
    assert "seems to hang: set break_lock to take over" in refused["msg"]
    deploy(machine, {**new(), "break_lock": True})
    after = machine.assert_tidy()
    machine.sh(f"kill -CONT {hanging['pid']}; while kill -0 {hanging['pid']} 2>/dev/null; do sleep 0.1; done")
    assert machine.assert_tidy() == after, "the run that was stopped found out, and did nothing more"


@pytest.mark.usefixtures("serving")
def test_a_port_that_something_else_has_taken_is_named(machine: Machine) -> None:
    free = {"blue": 18082, "green": 18081}[machine.ledger()["active"]["slot"]]
    machine.sh(f"systemd-run --quiet --unit squatter python3 -m http.server --bind 127.0.0.1 {free}; sleep 0.5")
    try:
        result = refuse(machine, new())
    finally:
        machine.sh("systemctl stop squatter")
    assert re.search(rf"127.0.0.1:{free} is taken by python3 \(process \d+, squatter.service\)", result["msg"])
    deploy(machine, new())


@contextlib.contextmanager
def full_disk(machine: Machine) -> Iterator[None]:
    """The state on a disk of its own that has no room left; made room on, it is the host's again."""
    state, aside = "/var/lib/modelyard", "/opt/proof/state"
    machine.sh(
        f"rm -rf {aside}; cp -a {state} {aside}; mount -t tmpfs -o size=8m tmpfs {state}; cp -a {aside}/apps {state};"
        f"cp -a {aside}/ingress {state}; mkdir -p {state}/images; cp -a {aside}/images/. {state}/images || true;"
        f"cat /dev/zero > {state}/filler 2>/dev/null || true"
    )
    try:
        yield
        machine.sh(f"rm {state}/filler; cd {state}; rm -rf {aside}/apps {aside}/ingress; cp -a apps ingress {aside}")
    finally:
        machine.sh(f"umount {state}; cp -a {aside}/. {state}")


@pytest.mark.usefixtures("serving")
def test_a_full_disk_stops_a_deployment_and_nothing_else(machine: Machine) -> None:
    with full_disk(machine):
        result = refuse(machine, new())
        assert "No space left on device" in result["msg"]
    deploy(machine, new())


@pytest.fixture
def registry(machine: Machine, request: pytest.FixtureRequest) -> Iterator[str]:
    """A registry on the host, in the state that the test names."""
    machine.sh(
        "rm -f /opt/proof/registry.uri; "
        f"systemd-run --quiet --unit registry python3 /opt/proof/registry.py {request.param}; "
        "while ! test -s /opt/proof/registry.uri; do sleep 0.1; done"
    )
    yield machine.sh("cat /opt/proof/registry.uri")
    machine.sh("systemctl stop registry")


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize(
    ("registry", "message"),
    [
        ("corrupt", "model.bin has the SHA-256"),
        ("alias", "champion"),
        ("files", "has no files"),
    ],
    indirect=["registry"],
)
def test_a_model_that_is_not_as_registered_is_no_release(machine: Machine, registry: str, message: str) -> None:
    before = machine.assert_tidy()
    model = {"name": "iris", "alias": "champion"}
    code, output = play(CONVERGE, version=3, model=model, tracking_uri=registry)
    assert code != 0
    assert message in output
    assert machine.assert_tidy() == before
    assert "2" not in machine.sh("ls /var/lib/modelyard/models/iris 2>/dev/null || true").split()


@pytest.mark.usefixtures("serving")
def test_what_others_have_in_the_ingress_survives(machine: Machine) -> None:
    """Another app's route, and a setting somebody made by hand in the running process."""
    slot_map = "/var/lib/modelyard/ingress/slots.map"
    machine.sh(f"echo 'theirs blue' >> {slot_map}")
    machine.haproxy(f"add map {slot_map} theirs blue")
    machine.haproxy("set maxconn frontend public 1234")
    before = machine.sh("cd /etc/haproxy && find . -type f -exec sha256sum {} + ; systemctl show -p MainPID haproxy")
    try:
        (result,) = machine.release(new())
        assert not result.get("failed"), result
        assert "theirs blue" in machine.sh(f"cat {slot_map}").splitlines()
        assert "theirs blue" in machine.haproxy(f"show map {slot_map}")
        assert ",1234," in machine.haproxy("show stat")
    finally:
        machine.sh(f"sed -i '/theirs/d' {slot_map}")
        machine.haproxy(f"del map {slot_map} theirs")
    after = machine.sh("cd /etc/haproxy && find . -type f -exec sha256sum {} + ; systemctl show -p MainPID haproxy")
    assert before == after
    assert machine.assert_tidy() == result["release"]
