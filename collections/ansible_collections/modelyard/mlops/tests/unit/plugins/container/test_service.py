# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The new container answers, or the former one runs again, on what the data was."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils import service as module
from ansible_collections.modelyard.mlops.plugins.module_utils.container import ContainerError, Spec
from ansible_collections.modelyard.mlops.plugins.module_utils.service import Service, Verify, probe, run_once

from .fakes import FakeContainers

OLD, NEW = Spec("old"), Spec("new")


@pytest.fixture
def containers() -> FakeContainers:
    return FakeContainers()


@pytest.fixture
def service(containers: FakeContainers, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setattr(module, "POLL_SECONDS", 0)
    return Service(containers, "server", None)


def images(containers: FakeContainers) -> dict[str, Any]:
    """Image and whether it runs, by name."""
    return {name: (c["Id"].split("-")[1], c["State"]["Running"]) for name, c in containers.containers.items()}


def test_the_first_container_runs(containers: FakeContainers, service: Service) -> None:
    service.replace(NEW)
    assert images(containers) == {"server": ("new", True)}
    assert service.running() == (NEW.text(), True)


def test_a_new_container_takes_the_place_of_the_former_one(containers: FakeContainers, service: Service) -> None:
    service.replace(OLD)
    service.replace(NEW)
    assert images(containers) == {"server": ("new", True)}


def test_a_container_that_ends_makes_place_for_the_former_one(containers: FakeContainers, service: Service) -> None:
    service.replace(OLD)
    containers.life = lambda spec: {"Running": False, "ExitCode": 3}
    with pytest.raises(ContainerError, match=r"ended with exit code 3. Its last lines:\nfirst line\nlast line"):
        service.replace(NEW)
    assert images(containers) == {"server": ("old", True)}


def test_a_container_that_does_not_start_makes_place_for_the_former_one(
    containers: FakeContainers, service: Service
) -> None:
    service.replace(OLD)
    containers.refuse = "port is already allocated"
    with pytest.raises(ContainerError, match="port is already allocated"):
        service.replace(NEW)
    assert images(containers) == {"server": ("old", True)}


def test_a_container_that_does_not_answer_in_time_is_given_up(
    containers: FakeContainers, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "probe", lambda url, contains: "it answers with HTTP 500")
    hanging = Service(containers, "server", Verify("http://x", "", 0))
    with pytest.raises(ContainerError, match="does not work after 0 s: it answers with HTTP 500"):
        hanging.replace(NEW)
    assert containers.containers == {}


def test_a_run_that_died_before_the_answer_is_begun_again(containers: FakeContainers, service: Service) -> None:
    service.replace(OLD)
    containers.rename("server", service.former)
    containers.stop(service.former)
    containers.run("server", NEW)
    assert service.running() == (NEW.text(), False), "nobody has seen it answer"
    service.replace(NEW)
    assert images(containers) == {"server": ("new", True)}


def test_a_restart_counts_as_a_failure_only_if_it_is_new(containers: FakeContainers, service: Service) -> None:
    service.replace(NEW)
    containers.containers["server"]["RestartCount"] = 1
    service.wait(service.restarts())
    with pytest.raises(ContainerError, match="ended with exit code 0"):
        service.wait()


def test_a_container_of_another_origin_is_replaced(containers: FakeContainers, service: Service) -> None:
    service.replace(OLD)
    containers.containers["server"]["Config"]["Labels"] = None
    assert service.running() == ("{}", True)


def test_a_probe_says_what_is_wrong() -> None:
    assert probe("http://127.0.0.1:1/health", "").startswith("http://127.0.0.1:1/health does not answer: ")


class Data:
    """Data that a change makes new, and what was done to it."""

    def __init__(self, fails: bool = False) -> None:
        self.fails, self.steps = fails, list[str]()

    def apply(self) -> None:
        self.steps.append("apply")
        if self.fails:
            raise OSError("disk full")

    def take_back(self) -> None:
        self.steps.append("take back")

    def prove(self) -> None:
        self.steps.append("prove")


def test_data_changes_while_nothing_runs(containers: FakeContainers, service: Service) -> None:
    service.replace(OLD)
    data = Data()
    service.replace(NEW, data)
    assert data.steps == ["apply", "prove"]
    assert images(containers) == {"server": ("new", True)}


@pytest.mark.parametrize("fails", [True, False])
def test_the_former_container_gets_its_data_back(containers: FakeContainers, service: Service, fails: bool) -> None:
    service.replace(OLD)
    containers.life = lambda spec: {"Running": False, "ExitCode": 3}
    data = Data(fails)
    with pytest.raises(OSError if fails else ContainerError):
        service.replace(NEW, data)
    assert data.steps == ["apply", "take back"]
    assert images(containers) == {"server": ("old", True)}


def test_both_reasons_are_told_when_the_data_cannot_be_put_back(service: Service) -> None:
    data = Data(fails=True)
    data.take_back = lambda: 1 / 0  # type: ignore[assignment]
    with pytest.raises(ContainerError, match=r"disk full\n.*the next run tries again: division by zero"):
        service.replace(NEW, data)


def test_a_command_runs_to_its_end(containers: FakeContainers) -> None:
    containers.life = lambda spec: {"Running": False, "ExitCode": 0}
    assert run_once(containers, "once", NEW, 1) == "first line\nlast line\n"
    assert containers.containers == {}


def test_a_command_that_fails_says_why(containers: FakeContainers) -> None:
    containers.life = lambda spec: {"Running": False, "ExitCode": 2}
    with pytest.raises(ContainerError, match=r"container once ended with exit code 2.*\nfirst line\nlast line"):
        run_once(containers, "once", NEW, 1)
    assert containers.containers == {}


def test_a_command_that_does_not_end_is_ended(containers: FakeContainers) -> None:
    with pytest.raises(ContainerError, match="has not ended after 0 s"):
        run_once(containers, "once", NEW, 0)
    assert containers.containers == {}
