# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""release_slots: containers of a release, what they get, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils import release_slots
from ansible_collections.modelyard.mlops.plugins.module_utils.container import ContainerError, Image, Spec
from ansible_collections.modelyard.mlops.plugins.module_utils.release import ReleaseError, seal
from ansible_collections.modelyard.mlops.plugins.module_utils.release_secrets import MemorySecrets
from ansible_collections.modelyard.mlops.plugins.module_utils.release_slots import (
    APP_LABEL,
    RELEASE_LABEL,
    Slots,
    State,
)

from .fakes import release


class FakeContainers:
    """Containers by name, as the engine describes them; `calls` is what was asked for."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.specs: list[Spec] = []

    def inspect(self, name: str) -> dict[str, Any] | None:
        return self.found.get(name)

    def run(self, name: str, spec: Spec) -> None:
        self.specs.append(spec)
        self.found[name] = container(int(spec.labels[RELEASE_LABEL]), spec.labels[APP_LABEL])

    def remove(self, name: str) -> None:
        self.calls.append(f"remove {name}")
        self.found.pop(name)

    def start(self, name: str) -> None:
        self.calls.append(f"start {name}")

    def logs(self, _name: str, _lines: int) -> str:
        return "last words\n"


def container(number: int, app: str = "demo", **state: Any) -> dict[str, Any]:
    labels = {APP_LABEL: app, RELEASE_LABEL: str(number)}
    running = {"Running": True, "ExitCode": 0, "OOMKilled": False, "Error": ""}
    return {"Config": {"Labels": labels}, "State": {**running, **state}}


@pytest.fixture
def containers(monkeypatch: pytest.MonkeyPatch) -> FakeContainers:
    fake = FakeContainers()
    monkeypatch.setattr(release_slots, "Containers", lambda _engine: fake)
    monkeypatch.setattr(release_slots, "check_port", lambda _port: None)
    return fake


@pytest.fixture
def slots(containers: FakeContainers, tmp_path: Path) -> Slots:
    memory = MemorySecrets("demo", lambda n: f"/rest/{n}", str(tmp_path / "run"), str(tmp_path), lambda _path: None)
    return Slots(None, "demo", memory)  # type: ignore[arg-type]


def use_image(monkeypatch: pytest.MonkeyPatch, user: str) -> None:
    monkeypatch.setattr(release_slots, "need_image", lambda *_: Image("sha256:id", "sha256:key", user))


def test_release_runs_as_its_image_says_with_its_secrets_in_memory(
    slots: Slots, containers: FakeContainers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_image(monkeypatch, "10001:10001")
    slots.start(release(3, secrets=seal({"TOKEN": "hush"}, b"key")), "green")
    (spec,) = containers.specs
    assert spec.mounts == {"/run/secrets": str(tmp_path / "run" / "demo" / "3")}
    assert "10001 root - /rest/3" in (tmp_path / "modelyard-secrets.demo.3.conf").read_text()
    assert slots.state("green") == State(3, running=True)


@pytest.mark.parametrize(
    ("user", "secrets", "message"),
    [
        ("", {}, "runs as root"),
        ("0:0", {}, "runs as root"),
        ("app", {"TOKEN": "1"}, "runs as 'app', and only a number tells"),
    ],
)
def test_user_that_cannot_be_is_refused(
    slots: Slots, monkeypatch: pytest.MonkeyPatch, user: str, secrets: dict[str, str], message: str
) -> None:
    use_image(monkeypatch, user)
    with pytest.raises(ReleaseError, match=message):
        slots.start(release(1, secrets=secrets), "blue")


def test_container_of_somebody_else_is_left_alone(slots: Slots, containers: FakeContainers) -> None:
    containers.found["modelyard-demo-blue"] = container(1, app="another")
    with pytest.raises(ReleaseError, match="a container named modelyard-demo-blue exists that is not ours"):
        slots.remove("blue")
    assert containers.calls == []


def test_stopped_release_starts_again_in_its_container(slots: Slots, containers: FakeContainers) -> None:
    containers.found["modelyard-demo-blue"] = container(1, Running=False)
    slots.start_again(release(1), "blue")
    assert containers.calls == ["start modelyard-demo-blue"]


def test_release_whose_container_is_gone_is_made_anew(
    slots: Slots, containers: FakeContainers, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_image(monkeypatch, "10001")
    containers.found["modelyard-demo-blue"] = container(2)
    slots.start_again(release(1), "blue")
    assert containers.calls == ["remove modelyard-demo-blue"]
    assert slots.state("blue").release == 1


def test_last_words_are_those_of_the_health_check_too(slots: Slots, containers: FakeContainers) -> None:
    checks = [{"ExitCode": 1, "Output": f"attempt {number}: no model\n"} for number in range(5)]
    containers.found["modelyard-demo-blue"] = container(1, Health={"Log": checks})
    lines = slots.logs("blue").splitlines()
    assert lines[0] == "last words"
    assert lines[1:] == [f"health check, exit code 1: attempt {number}: no model" for number in (2, 3, 4)]
    assert slots.logs("green") == ""


def test_state_says_how_it_ended(slots: Slots, containers: FakeContainers) -> None:
    containers.found["modelyard-demo-blue"] = container(1, Running=False, ExitCode=137, OOMKilled=True, Error="oops")
    assert str(slots.state("blue")) == "the container was killed because it ran out of memory, exit code 137 (oops)"
    assert str(slots.state("green")) == "there is no container"
    containers.found["modelyard-demo-green"] = container(1, Restarting=True)
    assert not slots.state("green").running


def test_container_that_does_not_start_is_a_problem_of_the_release(
    slots: Slots, containers: FakeContainers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, _spec: Spec) -> None:
        raise ContainerError(f"container {name} does not start: no such program")

    use_image(monkeypatch, "10001")
    monkeypatch.setattr(containers, "run", refuse)
    with pytest.raises(ReleaseError, match="does not start: no such program"):
        slots.start(release(1), "blue")
