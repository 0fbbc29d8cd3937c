# SPDX-License-Identifier: Apache-2.0
"""Whoever is killed, and at whatever step: one release serves, the ledger says the truth, the next run finishes."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import CONVERGE, command
from ansible_collections.modelyard.mlops.plugins.module_utils.release_flow import AFTER_SWITCH, BEFORE_SWITCH

from .machine import Machine, shop

STEPS = [*BEFORE_SWITCH, *AFTER_SWITCH, "return"]
Stopped = dict[str, Any]

numbers = itertools.count(1)


def kill_module(machine: Machine, stopped: Stopped) -> None:
    machine.sh(f"kill -9 {stopped['pid']}")


def kill_container(machine: Machine, stopped: Stopped) -> None:
    """The new one, as soon as there is one."""
    find = f"docker inspect --format '{{{{.State.Pid}}}}' modelyard-shop-{stopped['slot']} 2>/dev/null"
    machine.sh(
        f"kill -CONT {stopped['pid']}; for i in $(seq 500); do pid=$({find} || echo 0); "
        "if [ $pid != 0 ]; then kill -9 $pid; exit 0; fi; sleep 0.01; done; exit 1"
    )


def kill_engine(machine: Machine, stopped: Stopped) -> None:
    # So many kills within a minute are more than systemd puts up with.
    machine.sh(f"systemctl reset-failed docker; kill -9 $(pidof dockerd); kill -CONT {stopped['pid']}")


def kill_controller(machine: Machine, stopped: Stopped) -> None:
    """It is dead already; what it began on the host goes on."""
    machine.sh(f"kill -CONT {stopped['pid']}")


def reboot(machine: Machine, _stopped: Stopped) -> None:
    machine.reboot()


VICTIMS: dict[str, Callable[[Machine, Stopped], None]] = {
    "module": kill_module,
    "host": reboot,
    "container": kill_container,
    "engine": kill_engine,
    "controller": kill_controller,
}


def cases() -> Iterator[tuple[str, str]]:
    """At each step the module and, in turn, one of the others: with EVERY_KILL in the environment, all of them."""
    others = itertools.cycle(victim for victim in VICTIMS if victim != "module")
    for step in STEPS:
        chosen = list(VICTIMS) if os.environ.get("EVERY_KILL") else ["module", next(others)]
        yield from ((victim, step) for victim in chosen)


def next_release(step: str) -> dict[str, Any]:
    """One that was never there; it is asked for, or fails behind the ingress, so that it comes to the step."""
    env: dict[str, object] = {"NUMBER": next(numbers)}
    if step == "warm_up":
        return {**shop(2, **env), "warm_up": {"requests": 1, "path": "/basket"}}
    if step == "vacate":
        return {**shop(2, **env), "strategy": "recreate"}
    if step == "return":
        return {**shop(2, BEHAVIOUR="unready later", AFTER=1, **env), "watch": {"seconds": 5}}
    return shop(2, **env)


@contextlib.contextmanager
def controller(release: dict[str, Any]) -> Iterator[None]:
    """A run of Ansible, killed with all that belongs to it at the end."""
    asked = {"version": 2, "extra": {name: value for name, value in release.items() if name not in ("image", "by")}}
    process = subprocess.Popen(command(CONVERGE, **asked), stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def stop_at(machine: Machine, step: str, by_controller: bool) -> tuple[dict[str, Any], Stopped]:
    """Return a new release, and where its run has come to stop, which may be later: the shortest steps take 5 ms."""
    release = next_release(step)
    if by_controller:
        with controller(release):
            return release, machine.python("driver.py", "stop-at", step, "null")
    return release, machine.python("driver.py", "stop-at", step, json.dumps(release))


@pytest.mark.parametrize(("victim", "step"), list(cases()))
def test_after_a_kill_one_release_serves_and_the_next_run_finishes(
    machine: Machine, serving: int, victim: str, step: str
) -> None:
    for _attempt in range(5):
        release, stopped = stop_at(machine, step, victim == "controller")
        if stopped["step"] in (step, "never"):
            break
        machine.sh(f"kill -CONT {stopped['pid']}")
        machine.settle()
        serving = machine.at_rest()
    assert stopped["step"] == step
    VICTIMS[victim](machine, stopped)
    machine.settle()

    # Where there is no room for two, nothing serves until the next run: that is the price, and it is recorded.
    if step != "vacate":
        (answering,) = machine.serving()
        assert answering in (serving, stopped["release"])
        assert answering in (machine.ledger()["active"]["release"], machine.unfinished())

    machine.sh("for i in $(seq 100); do docker info >/dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1")
    (result,) = machine.release(release if step != "return" else next_release(""))
    assert not result.get("failed"), result
    assert machine.assert_tidy() == result["release"] != serving
    ended = [attempt["outcome"] for attempt in machine.ledger()["history"] if attempt["release"] == stopped["release"]]
    assert len(ended) == 1
    assert ended[0] in ("served", "refused", "interrupted", "returned")
