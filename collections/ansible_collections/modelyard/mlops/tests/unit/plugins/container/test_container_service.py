# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""container_service: the new container answers, or the former one runs again."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.container import ContainerError, Spec
from ansible_collections.modelyard.mlops.plugins.modules import container_service
from ansible_collections.modelyard.mlops.plugins.modules.container_service import Service, probe

from .fakes import FakeContainers

OLD, NEW = Spec("old"), Spec("new")


@pytest.fixture
def containers() -> FakeContainers:
    return FakeContainers()


@pytest.fixture
def service(containers: FakeContainers, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setattr(container_service, "POLL_SECONDS", 0)
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
    monkeypatch.setattr(container_service, "probe", lambda url, contains: "it answers with HTTP 500")
    hanging = Service(containers, "server", {"url": "http://x", "contains": "", "timeout": 0})
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
