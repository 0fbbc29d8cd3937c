# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""release_run: what is planned is what is done, and node_exporter shows what the ledger says however it ends."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils import release_run, textfile
from ansible_collections.modelyard.mlops.plugins.module_utils.container import ContainerError
from ansible_collections.modelyard.mlops.plugins.module_utils.engine import EngineUnreachable
from ansible_collections.modelyard.mlops.plugins.module_utils.ledger import Journal, now
from ansible_collections.modelyard.mlops.plugins.module_utils.release import ReleaseError
from ansible_collections.modelyard.mlops.plugins.module_utils.release_lock import Lock
from ansible_collections.modelyard.mlops.plugins.module_utils.release_run import App
from ansible_collections.modelyard.mlops.plugins.modules import app_release
from ansible_collections.modelyard.mlops.tests.unit.plugins.running import run_module

from .fakes import DELIVERY, PORTS, Host, Killed, release


class FakeEngine:
    def get(self, _path: str) -> dict[str, str]:
        return {"DockerRootDir": "/"}


@pytest.fixture
def figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that node_exporter reads."""
    folder = tmp_path / "textfile"
    folder.mkdir()
    monkeypatch.setattr(textfile, "FOLDER", str(folder))
    return folder / "modelyard_app_demo.prom"


def app(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    image: int,
    *,
    check: bool = False,
    prepare: bool = False,
    **changes: Any,
) -> App:
    """A run of the module on a host of fakes."""
    fakes: dict[str, Any] = {"AppStore": host.store, "Engine": FakeEngine(), "Runtime": None, "SlotMap": None}
    fakes |= {"Router": host.router, "Slots": host.slots}
    for name, fake in fakes.items():
        monkeypatch.setattr(release_run, name, lambda *_, fake=fake: fake)
    monkeypatch.setattr(release_run, "ask", host.ask)
    monkeypatch.setattr(release_run, "time", host.clock)
    if not prepare:
        monkeypatch.setattr(App, "_prepare", lambda *_: None)
    options: dict[str, Any] = {
        "name": "demo",
        "state": "present",
        "image": f"app:{image}",
        "image_key": f"sha256:{image:064}",
    }
    options |= {
        "model": None,
        "env": {},
        "secrets": {},
        "user": "",
        "memory": "64m",
        "pids": 1,
        "cpus": 0.0,
        "grace": 5,
    }
    options |= {"port": 8080, "slots": PORTS, "release": None, "by": "me", "commit": "abc", "force": False}
    options |= {"delivery": ""}
    return App({**options, **DELIVERY, "break_lock": False, **changes}, check)


def run(app: App) -> dict[str, Any]:
    """What the task does on the host: a plan first, and more only if there is something to do."""
    result, anything = app.plan()
    return app.run(lambda _text: None) if anything else result


def test_each_run_that_deploys_is_shown(host: Host, figures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(app(host, monkeypatch, 1))
    assert 'outcome="served"} 1.0' in figures.read_text()
    host.slots.broken.add(2)
    result = run(app(host, monkeypatch, 2))
    assert result["failed"]
    assert "log of release 2" in result["log"]
    assert 'release="2",action="deploy",outcome="refused"} 1.0' in figures.read_text()
    assert 'modelyard_release_info{app="demo",release="1"' in figures.read_text()


def test_same_again_is_a_plan_and_no_more(host: Host, figures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(app(host, monkeypatch, 1))
    before, started = figures.stat(), list(host.slots.started)
    again = app(host, monkeypatch, 1)
    result, anything = again.plan()
    assert not anything
    assert not result["changed"]
    assert result["plan"] == []
    assert result["diff"] == {"before": "", "after": ""}
    assert again.publish() == ""
    assert figures.stat().st_mtime_ns == before.st_mtime_ns
    assert host.slots.started == started


def test_plan_says_which_part_differs_what_starts_and_what_stops(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    first: dict[str, Any] = {"env": {"LEVEL": "info"}, "secrets": {"TOKEN": "one", "OTHER": "same"}}
    assert run(app(host, monkeypatch, 1, **first))["action"] == "deploy"
    second: dict[str, Any] = {"env": {"LEVEL": "debug"}, "secrets": {"TOKEN": "two", "OTHER": "same"}}
    result, anything = app(host, monkeypatch, 1, check=True, **second).plan()
    assert anything
    assert result["reason"] == "changed: config, secrets"
    assert result["plan"] == ["start release 2 in the green slot", "stop release 1 in the blue slot"]
    before, after = (json.loads(result["diff"][side]) for side in ("before", "after"))
    assert (before["config"]["env"], after["config"]["env"]) == ({"LEVEL": "info"}, {"LEVEL": "debug"})
    assert before["secrets"]["OTHER"] == after["secrets"]["OTHER"]
    assert before["secrets"]["TOKEN"] != after["secrets"]["TOKEN"]
    assert before["slots"] == {"blue": "release 1 serves", "green": "nothing serves"}
    assert after["slots"] == {"blue": "nothing serves", "green": "release 2 serves"}
    assert not any(secret in json.dumps(result) for secret in ("one", "two", "same"))


def test_plan_of_recreate_stops_first_and_that_of_keeping_does_not_stop(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(app(host, monkeypatch, 1))
    plan = app(host, monkeypatch, 2, strategy="recreate").plan()[0]["plan"]
    assert plan == ["stop release 1 in the blue slot", "start release 2 in the green slot"]
    plan = app(host, monkeypatch, 2, keep_previous_running=True).plan()[0]["plan"]
    assert plan == ["start release 2 in the green slot", "keep release 1 in the blue slot"]


def test_a_preview_changes_nothing(host: Host, figures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result, anything = app(host, monkeypatch, 1, check=True, secrets={"TOKEN": "hush"}).plan()
    assert anything
    assert json.loads(result["diff"]["after"])["secrets"] == {"TOKEN": "new"}
    assert not figures.exists()
    assert not Path(host.store.folder).exists()
    assert host.store.fingerprint_key(create=False) == b""


def test_a_dead_run_is_something_to_do_although_the_same_release_serves(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(app(host, monkeypatch, 1))
    host.store.write_journal(Journal("deploy", 2, "green", "blue", "me", "abc", now(), "gate"))
    result, anything = app(host, monkeypatch, 1, check=True).plan()
    assert anything
    assert "would first end the deploy of release 2" in result["recovered"]
    result = run(app(host, monkeypatch, 1))
    assert result["recovered"] == "took back the deploy of release 2, which died at the step gate"
    assert result["action"] == "none"
    assert host.serving() == 1


def test_wrong_route_is_corrected_and_nothing_starts(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    run(app(host, monkeypatch, 1))
    started, host.router.running = list(host.slots.started), "green"
    result = run(app(host, monkeypatch, 1))
    assert (result["action"], result["plan"]) == ("redirect", ["send the requests to the blue slot"])
    assert host.serving() == 1
    assert host.slots.started == started


def test_gate_that_code_says_now_is_the_one_that_counts(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    run(app(host, monkeypatch, 1))
    host.wrong_paths.add("/ready")
    assert app(host, monkeypatch, 1).plan()[0]["action"] == "restore"
    gate = {**DELIVERY["gate"], "path": "/health"}  # type: ignore[dict-item]
    assert app(host, monkeypatch, 1, gate=gate).plan()[0]["action"] == "none"


def test_figures_that_cannot_be_written_fail_no_deployment(
    host: Host, figures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures.mkdir()
    result = run(app(host, monkeypatch, 1))
    assert result["changed"]
    assert "are not up to date" in result["warnings"][0]


def test_two_runs_at_once_are_one_and_a_refusal_by_name(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    Lock(host.store).acquire("ada", 60)
    result = run(app(host, monkeypatch, 1, by="bob"))
    assert result["failed"]
    assert "demo is being deployed by ada" in result["msg"]
    assert run(app(host, monkeypatch, 1, by="bob", break_lock=True))["changed"]


class TestPrepare:
    """What is refused before anything changes."""

    @pytest.fixture(autouse=True)
    def ready(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(release_run, "need_image", lambda *_: None)
        monkeypatch.setattr(release_run, "check_disk", lambda *_: None)
        self.needed: list[int] = []
        monkeypatch.setattr(release_run, "check_memory", self.needed.append)
        self.host = host

    def refuse(self, monkeypatch: pytest.MonkeyPatch, **options: Any) -> str:
        run = app(self.host, monkeypatch, 1, prepare=True, **options)
        return str(run.run(lambda _text: None).get("msg", ""))

    def test_all_is_well(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.refuse(monkeypatch) == ""
        assert self.needed == [64 << 20]

    def test_recreate_needs_no_room_for_two(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.refuse(monkeypatch, strategy="recreate") == ""
        assert self.needed == []

    def test_a_preview_says_that_there_is_no_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(_needed: int) -> None:
            raise ReleaseError("two releases do not fit beside each other")

        monkeypatch.setattr(release_run, "check_memory", full)
        with pytest.raises(ReleaseError, match="two releases do not fit"):
            app(self.host, monkeypatch, 1, check=True).plan()
        app(self.host, monkeypatch, 1, check=True, strategy="recreate").plan()

    def test_a_preview_needs_no_engine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def unreachable(_self: FakeEngine, _path: str) -> dict[str, str]:
            raise EngineUnreachable("no engine")

        folders: list[str] = []
        monkeypatch.setattr(FakeEngine, "get", unreachable)
        monkeypatch.setattr(release_run, "check_disk", folders.extend)
        assert app(self.host, monkeypatch, 1, check=True).plan()[0]["action"] == "deploy"
        assert folders[0] == "/var/lib/docker"

    def test_changed_slots_need_only_the_free_one_at_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.refuse(monkeypatch) == ""
        self.host.router.ports = [18081, 1112]  # as the role ingress has it while blue serves
        assert self.refuse(monkeypatch, slots=[1111, 1112]) == ""
        assert self.host.slots.started == [(1, "blue"), (2, "green")]

    def test_a_rollback_follows_the_ingress_to_other_ports(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.refuse(monkeypatch) == ""
        self.host.router.ports = [18081, 1112]
        assert self.refuse(monkeypatch, slots=[1111, 1112], keep_previous_running=True) == ""
        self.host.router.ports = [1111, 1112]
        assert self.refuse(monkeypatch, state="rolled_back") == ""
        assert self.host.store.release(1).config["slots"] == [1111, 1112]
        assert self.host.slots.started[-1] == (1, "blue"), "what ran on did so at the former port"

    def test_slots_that_the_ingress_does_not_know(self, monkeypatch: pytest.MonkeyPatch) -> None:
        message = self.refuse(monkeypatch, slots=[1111, 1112])
        assert "the ingress expects the blue slot at 127.0.0.1:18081, and this release uses 127.0.0.1:1111" in message
        assert self.host.slots.started == []

    def test_model_that_is_not_there_or_damaged(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        model = {"name": "iris", "version": "1", "path": str(tmp_path / "gone"), "digest": ""}
        assert "does not exist: let mlflow_model fetch it first" in self.refuse(monkeypatch, model=model)
        (tmp_path / "model.onnx").write_text("good")
        sums = json.dumps({"model.onnx": hashlib.sha256(b"good").hexdigest()})
        (tmp_path / "checksums.json").write_text(sums)
        model.update(path=str(tmp_path), digest=hashlib.sha256(sums.encode()).hexdigest())
        (tmp_path / "model.onnx").write_text("evil")
        message = self.refuse(monkeypatch, model=model)
        assert "is damaged: model.onnx has the SHA-256" in message
        assert self.host.slots.started == []
        (tmp_path / "model.onnx").write_text("good")
        assert self.refuse(monkeypatch, model=model) == ""


def undo(host: Host, monkeypatch: pytest.MonkeyPatch, delivery: str) -> dict[str, Any]:
    return run(app(host, monkeypatch, 0, state="rolled_back", delivery=delivery))


@pytest.mark.usefixtures("figures")
def test_what_a_delivery_brought_is_taken_back_once_and_may_be_tried_again(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(app(host, monkeypatch, 1))
    run(app(host, monkeypatch, 2, delivery="monday"))
    assert undo(host, monkeypatch, "monday")["action"] == "undo"
    assert (host.serving(), host.store.ledger().held) == (1, [])
    assert undo(host, monkeypatch, "monday")["action"] == "none"
    assert run(app(host, monkeypatch, 2, delivery="tuesday"))["action"] == "deploy"
    assert host.serving() == 3


@pytest.mark.usefixtures("figures")
def test_what_a_delivery_did_not_bring_stays(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing, _changed = app(host, monkeypatch, 0, state="rolled_back", delivery="tuesday").plan()
    assert (nothing["action"], nothing["app"], nothing["recovered"]) == ("none", host.store.name, "")
    run(app(host, monkeypatch, 1, delivery="monday"))
    run(app(host, monkeypatch, 1, delivery="tuesday"))
    assert undo(host, monkeypatch, "tuesday")["action"] == "none"
    assert "first release" in undo(host, monkeypatch, "monday")["reason"]
    assert host.serving() == 1


@pytest.mark.usefixtures("figures")
def test_what_a_delivery_brought_after_it_died_is_taken_back_as_well(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(app(host, monkeypatch, 1))
    host.kill_at = "watch"
    with pytest.raises(Killed):
        host.deliver(release(2), delivery="monday")
    assert undo(host, monkeypatch, "monday")["action"] == "undo"
    assert host.serving() == 1


@pytest.mark.usefixtures("figures")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"release": 9}, "release 9"),
        ({}, "no earlier release is kept on this host"),
    ],
)
def test_nothing_to_go_back_to_is_told(
    host: Host, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    assert "nothing serves this app" in refusal(host, monkeypatch, state="rolled_back")
    run(app(host, monkeypatch, 1))
    assert message in refusal(host, monkeypatch, state="rolled_back", **options)
    assert host.serving() == 1


@pytest.mark.usefixtures("figures")
def test_going_back_to_what_serves_or_never_served(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    run(app(host, monkeypatch, 1))
    assert run(app(host, monkeypatch, 0, state="rolled_back", release=1))["action"] == "none"
    host.store.add(release(2), {})
    assert "has never passed its gate" in refusal(host, monkeypatch, state="rolled_back", release=2)


def test_image_is_named_or_known(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    nameless = app(host, monkeypatch, 1, image_key="")
    nameless._options["image"] = ""
    with pytest.raises(ReleaseError, match="image: name the image to serve"):
        nameless.plan()

    def missing(*_: Any) -> None:
        raise ContainerError("there is no image app:1 on this host")

    monkeypatch.setattr(release_run, "need_image", missing)
    assert "no image app:1" in refusal(host, monkeypatch, image_key="")
    assert app(host, monkeypatch, 1, image_key="", check=True).plan()[0]["action"] == "deploy"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"memory": "lots"}, "memory: 'lots' is no size"),
        ({"port": 0}, "port: 0 is no port"),
        ({"memory": "lots", "slots": [80, 81]}, "slots: [80, 81] must be two different ports"),
    ],
)
def test_what_cannot_be_is_refused_by_name_before_the_image_is_looked_for(
    host: Host, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], message: str
) -> None:
    assert message in refusal(host, monkeypatch, image_key="", **wrong)
    assert message in refusal(host, monkeypatch, image_key="", check=True, **wrong)
    assert host.serving() == 0


@pytest.mark.parametrize("image", ["app", "app:latest"])
def test_image_that_may_be_another_tomorrow_is_refused(image: str) -> None:
    said = run_module(app_release.main, {"name": "demo", "image": image, "slots": PORTS})["msg"]
    assert said.startswith(f"demo: image: '{image}' ")


@pytest.mark.parametrize("state", ["present", "rolled_back"])
def test_a_name_that_cannot_be_is_refused_by_the_name_of_its_option(state: str) -> None:
    said = run_module(app_release.main, {"name": "Demo", "image": "demo:1", "slots": PORTS, "state": state})["msg"]
    assert said.startswith("Demo: name: 'Demo' is no app name")


def refusal(host: Host, monkeypatch: pytest.MonkeyPatch, **options: Any) -> str:
    """What a run says that does nothing."""
    try:
        return str(run(app(host, monkeypatch, 1, **options)).get("msg", ""))
    except (ReleaseError, ContainerError) as error:
        return str(error)
