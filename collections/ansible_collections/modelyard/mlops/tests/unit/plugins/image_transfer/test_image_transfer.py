# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The action with its agent, from one engine to another: the connection copies into a folder."""

from __future__ import annotations

import io
import json
import os
import typing as t
from pathlib import Path
from unittest import mock

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.modelyard.mlops.plugins.action import image_transfer
from ansible_collections.modelyard.mlops.plugins.module_utils import image_agent, image_look, image_pack, textfile
from ansible_collections.modelyard.mlops.plugins.module_utils.engine import EngineUnreachable
from ansible_collections.modelyard.mlops.plugins.plugin_utils import image_send, image_source_engine
from ansible_collections.modelyard.mlops.tests.unit.plugins.image_transfer.fakes import (
    ContainerdEngine,
    FakeEngine,
    config,
    digest,
    tar,
)

BASE = tar({"base": bytes(range(256)) * 200})
CODE = tar({"code": b"one"})
CHUNK = 4096

Result = dict[str, t.Any]


class Host:
    """A host behind a connection which may be cut or may damage what it carries."""

    def __init__(self, folder: Path) -> None:
        self.engine = FakeEngine()
        self.staging = folder / "host" / "staging"
        self.textfiles = folder / "textfile"
        self.apps = folder / "apps"
        self.cuts: list[int] = []
        self.damages: list[int] = []
        self.puts = 0
        self.calls: list[str] = []
        self.before_load: t.Callable[[], None] = lambda: None

    def put_file(self, local: str, remote: str) -> None:
        content, cut = self.carry(Path(local).read_bytes())
        Path(remote).write_bytes(content)
        if cut:
            raise AnsibleConnectionFailure("cut")

    def execute(self, _command: str, in_data: bytes) -> Result:
        """The agent in this process: past its program, which comes first."""
        stream = io.BytesIO(in_data)
        stream.seek(int(stream.readline()), os.SEEK_CUR)
        text = stream.read(int(stream.readline()))
        steps = [name for name, _unused in json.loads(text)["steps"]]
        self.calls += steps
        if "load" in steps:
            self.before_load()
        pack, cut = stream.read(), False
        if pack:
            pack, cut = self.carry(pack)
        output = io.StringIO("Welcome")
        image_agent.main(io.BytesIO(b"%d\n" % len(text) + text + pack), output)
        if cut:
            raise AnsibleConnectionFailure("cut")
        return {"rc": 0, "stdout": output.getvalue(), "stderr": ""}

    def carry(self, content: bytes) -> tuple[bytes, bool]:
        """What arrives of a pack, and whether the connection is cut."""
        self.puts += 1
        if self.cuts:
            return content[: self.cuts.pop(0)], True
        if self.damages:
            place = self.damages.pop(0)
            content = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        return content, False


@pytest.fixture
def controller(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    engine = FakeEngine()
    monkeypatch.setattr(image_source_engine, "Engine", lambda _: engine)
    monkeypatch.setattr(image_pack, "CHUNK_SIZE", CHUNK)
    monkeypatch.setattr(image_transfer, "_PAUSE", 0)
    return engine


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(tmp_path)
    monkeypatch.setattr(textfile, "FOLDER", str(host.textfiles))
    monkeypatch.setattr(image_agent, "Engine", lambda _: host.engine)
    return host


@pytest.fixture
def transfer(
    controller: FakeEngine, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> t.Callable[..., Result]:
    def run(*images: str | dict[str, str], check: bool = False, **more: t.Any) -> Result:
        wanted = [{"name": image} if isinstance(image, str) else image for image in images]
        task = mock.Mock(async_val=0, check_mode=check, diff=False, delegate_to=None, environment=None)
        places = {"staging": str(host.staging), "cache_path": str(tmp_path / "cache"), "apps": str(host.apps)}
        task.args = {"images": wanted, **places, **more}
        connection = mock.Mock()
        connection.put_file = host.put_file
        loader, templar = mock.Mock(path_dwim=str), mock.Mock(template=str)
        action = image_transfer.ActionModule(task, connection, mock.Mock(), loader, templar, mock.Mock())
        monkeypatch.setattr(action, "_low_level_execute_command", host.execute)
        return action.run(task_vars={"inventory_hostname": "host"})

    return run


def packs(host: Host) -> list[Path]:
    return list(host.staging.iterdir())


def test_first_transfer_brings_all_layers(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]
) -> None:
    key = controller.add("app:1", [BASE, CODE])
    result = transfer("app:1")
    report = result["images"]["app:1"]
    assert result["changed"]
    assert (report["key"], report["path"], report["layers_sent"]) == (key, "full", 2)
    assert host.engine.tags == {"app:1": key}
    assert host.engine.images[key] == controller.images[key]
    assert packs(host) == []


def figures(host: Host, name: str) -> dict[str, float]:
    lines = (host.textfiles / f"{name}.prom").read_text().splitlines()
    return {line.split("{")[0]: float(line.split()[-1]) for line in lines if not line.startswith("#")}


def test_a_transfer_leaves_its_figures(controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]) -> None:
    host.textfiles.mkdir()
    controller.add("team/app:1", [BASE, CODE])
    report = transfer("team/app:1")["images"]["team/app:1"]
    shown = figures(host, "modelyard_image_team%2Fapp")
    assert shown["modelyard_image_transfer_bytes_sent"] == report["bytes_sent"] > 0
    assert shown["modelyard_image_transfer_bytes_skipped"] == report["bytes_skipped"]
    assert 0 < shown["modelyard_image_transfer_duration_seconds"] <= report["seconds"] + 0.01
    controller.add("team/app:2", [BASE, tar({"code": b"two"})])
    report = transfer("team/app:2")["images"]["team/app:2"]
    shown = figures(host, "modelyard_image_team%2Fapp")
    assert shown["modelyard_image_transfer_bytes_sent"] == report["bytes_sent"]
    assert shown["modelyard_image_transfer_bytes_skipped"] == report["bytes_skipped"]


def test_a_run_that_transfers_nothing_leaves_the_figures_alone(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]
) -> None:
    host.textfiles.mkdir()
    controller.add("app:1", [BASE, CODE])
    transfer("app:1")
    before = (host.textfiles / "modelyard_image_app.prom").stat()
    transfer("app:1")
    assert (host.textfiles / "modelyard_image_app.prom").stat().st_mtime_ns == before.st_mtime_ns


def test_without_a_node_exporter_there_are_no_figures(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]
) -> None:
    controller.add("app:1", [BASE, CODE])
    transfer("app:1")
    assert not host.textfiles.exists()


def test_second_run_is_one_look(controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]) -> None:
    key = controller.add("app:1", [BASE, CODE])
    transfer("app:1")
    host.calls, host.puts, controller.exports = [], 0, 0
    result = transfer("app:1")
    assert not result["changed"]
    assert not result["diff"]["prepared"]
    assert result["images"]["app:1"]["path"] == "present"
    assert result["images"]["app:1"]["id"] == key
    assert (host.calls, host.puts, controller.exports) == (["look"], 0, 0)


def test_only_the_changed_layer_travels(controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]) -> None:
    controller.add("app:1", [BASE, CODE])
    key = controller.add("app:2", [BASE, tar({"code": b"two"})])
    transfer("app:1")
    report = transfer("app:2")["images"]["app:2"]
    assert (report["path"], report["layers_sent"], report["layers_skipped"]) == ("thin", 1, 1)
    assert report["bytes_sent"] < 1000
    assert host.engine.tags["app:2"] == key


def test_a_small_change_is_two_questions(controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]) -> None:
    """Its chunks go with the second, and so does what is needed no more."""
    versions(controller, transfer, 2, keep=2)
    controller.add("app:3", [BASE, tar({"code": b"three"})])
    host.calls = []
    assert transfer("app:3", keep=2)["removed"] == ["app:1"]
    assert host.calls == ["look", "load", "prune"]
    assert packs(host) == []


def test_what_arrives_and_cannot_be_kept_is_sent_again(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]
) -> None:
    key = controller.add("app:1", [BASE, CODE])

    def lose() -> None:
        host.staging.rmdir()
        host.before_load = lambda: None

    host.before_load = lose
    assert transfer("app:1")["images"]["app:1"]["changed"]
    assert host.calls == ["look", "load", "look", "load"]
    assert host.engine.tags == {"app:1": key}


def test_second_image_of_a_run_stands_on_the_first(controller: FakeEngine, transfer: t.Callable[..., Result]) -> None:
    controller.add("app:1", [BASE, CODE])
    controller.add("other:1", [BASE, tar({"code": b"two"})])
    images = transfer("app:1", "other:1")["images"]
    assert [images[name]["path"] for name in ("app:1", "other:1")] == ["full", "thin"]


def test_changed_configuration_alone_is_another_image(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]
) -> None:
    controller.add("app:1", [BASE, CODE])
    transfer("app:1")
    key = controller.add("app:2", [BASE, CODE], command="/other")
    report = transfer("app:2")["images"]["app:2"]
    assert (report["path"], report["layers_sent"]) == ("thin", 0)
    assert host.engine.tags["app:2"] == key


def test_name_moves_without_sending(controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]) -> None:
    old = controller.add("app:1", [BASE])
    new = controller.add("app:2", [BASE, CODE])
    transfer("app:1", "app:2")
    assert host.engine.tags["app:1"] == old
    controller.tags["app:1"] = new
    report = transfer("app:1")["images"]["app:1"]
    assert (report["path"], report["changed"], report["bytes_sent"]) == ("tag", True, 0)
    assert host.engine.tags["app:1"] == new


def test_check_mode_changes_nothing_and_tells_the_same(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]
) -> None:
    controller.add("app:1", [BASE, CODE])
    planned = transfer("app:1", check=True)
    assert planned["changed"]
    assert "all layers travel" in planned["diff"]["prepared"]
    assert (host.engine.images, host.puts, host.staging.exists()) == ({}, 0, False)
    done = transfer("app:1")
    assert planned["diff"] == done["diff"]
    same = ("key", "path", "layers_sent", "bytes_skipped", "bytes_total")
    assert [planned["images"]["app:1"][name] for name in same] == [done["images"]["app:1"][name] for name in same]


def test_host_without_an_engine(controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]) -> None:
    key = controller.add("app:1", [BASE, CODE])
    host.engine.get = mock.Mock(side_effect=EngineUnreachable("no socket"))  # type: ignore[method-assign]
    planned = transfer("app:1", check=True)
    assert planned["images"]["app:1"]["key"] == key
    assert "no engine yet" in planned["diff"]["prepared"]
    failed = transfer("app:1")
    assert failed["failed"]
    assert "no socket" in failed["msg"]
    assert host.puts == 0


@pytest.fixture(params=["a file", "the question"])
def _carrier(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What chunks travel with."""
    monkeypatch.setattr(image_send, "_ALONG", 0 if request.param == "a file" else 10**6)


@pytest.mark.usefixtures("_carrier")
@pytest.mark.parametrize("cut", [0, 10, image_pack.HEADER_SIZE + 5, 2000, 3000])
def test_cut_transfer_goes_on_where_it_stopped(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result], cut: int
) -> None:
    noise = tar({"noise": b"".join(bytes([number * 7 % 256]) * 3 for number in range(20_000))})
    key = controller.add("app:1", [noise, CODE])
    whole = transfer("app:1", check=True)["images"]["app:1"]["bytes_sent"]
    host.cuts = [cut]
    report = transfer("app:1")["images"]["app:1"]
    assert host.puts == 2
    assert host.engine.tags == {"app:1": key}
    assert packs(host) == []
    assert 0 < report["bytes_sent"] <= whole + 10 * image_pack.HEADER_SIZE


@pytest.mark.usefixtures("_carrier")
def test_later_run_sends_only_the_rest(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = controller.add("app:1", [tar({"noise": os.urandom(5 * CHUNK)}), CODE])
    host.cuts = [3 * CHUNK] * image_transfer._ROUNDS
    host.cuts[1:] = [0] * (image_transfer._ROUNDS - 1)
    failed = transfer("app:1")
    assert failed["failed"]
    assert "5 attempts: the connection was lost: cut" in failed["msg"]
    assert host.engine.images == {}
    report = transfer("app:1")["images"]["app:1"]
    assert 2 * CHUNK < report["bytes_sent"] < 5 * CHUNK
    assert host.engine.tags == {"app:1": key}
    assert packs(host) == []


@pytest.mark.usefixtures("_carrier")
def test_chunk_damaged_on_the_way_is_sent_again(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]
) -> None:
    key = controller.add("app:1", [BASE, CODE])
    host.damages = [image_pack.HEADER_SIZE + 20]
    result = transfer("app:1")
    assert host.puts == 2
    assert host.engine.tags == {"app:1": key}
    assert not result.get("failed")


def test_chunk_damaged_in_the_cache_is_exported_again(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result], tmp_path: Path
) -> None:
    key = controller.add("app:1", [BASE, CODE])
    transfer("app:1", check=True)
    for path in (tmp_path / "cache/chunks").glob("*/*"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    controller.exports = 0
    result = transfer("app:1")
    assert controller.exports == 1
    assert host.engine.tags == {"app:1": key}
    assert not result.get("failed")


def test_refused_thin_archive_becomes_a_whole_one(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]
) -> None:
    controller.add("app:1", [BASE, CODE])
    key = controller.add("app:2", [BASE, tar({"code": b"two"})])
    transfer("app:1")

    def remove_once() -> None:
        host.before_load = lambda: None
        host.engine.remove("app:1")

    host.before_load = remove_once
    report = transfer("app:2")["images"]["app:2"]
    assert report["path"] == "full"
    assert "refused" in report["reason"]
    assert "no such file" in report["reason"]
    assert host.engine.tags == {"app:2": key}


def test_image_that_came_out_wrong_is_removed(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]
) -> None:
    controller.add("app:1", [BASE, CODE])
    real = host.engine._load

    def wrong(content: bytes) -> str:
        problem = real(content)
        name, image = next(iter(host.engine.tags.items()))
        host.engine.images["sha256:" + "0" * 64] = host.engine.images.pop(image)
        host.engine.tags[name] = "sha256:" + "0" * 64
        return problem

    host.engine._load = wrong  # type: ignore[method-assign]
    result = transfer("app:1")
    assert result["failed"]
    assert "wrong and was removed: id is sha256:000" in result["msg"]
    assert (host.engine.images, host.engine.tags) == ({}, {})


def test_too_small_disk_is_named_before_a_byte_is_sent(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    controller.add("app:1", [BASE, CODE])
    monkeypatch.setattr(image_look, "space", lambda path: {"path": path, "free": 1000, "device": 1})
    for check in (True, False):
        result = transfer("app:1", check=check)
        assert result["failed"]
        assert "where 1.0 kB are free" in result["msg"]
    assert host.puts == 0


def test_full_disk_during_the_load_is_no_reason_to_send_more(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]
) -> None:
    controller.add("app:1", [BASE, CODE])
    controller.add("app:2", [BASE, tar({"code": b"two"})])
    transfer("app:1")
    full = mock.Mock(return_value="write /var/lib/docker: no space left on device")
    host.engine._load = full  # type: ignore[method-assign]
    result = transfer("app:2")
    assert result["failed"]
    assert "no space left" in result["msg"]
    assert "app:2" not in host.engine.tags


def test_other_controller_was_faster(controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]) -> None:
    key = controller.add("app:1", [BASE, CODE])
    host.before_load = lambda: host.engine.tags.update(theirs=host.engine.add("theirs:1", [BASE, CODE]))
    report = transfer("app:1")["images"]["app:1"]
    assert host.engine.loads == 0
    assert report["changed"]
    assert host.engine.tags["app:1"] == key


@pytest.fixture
def containerd(host: Host) -> ContainerdEngine:
    engine = ContainerdEngine()
    host.engine = engine
    return engine


def test_containerd_store_gets_the_blobs_that_it_has_not(
    controller: FakeEngine, containerd: ContainerdEngine, transfer: t.Callable[..., Result]
) -> None:
    top = tar({"top": b"top"})
    controller.add("app:1", [BASE, CODE, top])
    controller.add("app:2", [BASE, tar({"code": b"two"}), top])
    first = transfer("app:1")["images"]["app:1"]
    assert (first["path"], first["store"], first["layers_sent"]) == ("full", "containerd", 3)
    assert first["id"] == containerd.tags["app:1"] != first["key"]
    second = transfer("app:2")["images"]["app:2"]
    assert (second["path"], second["layers_sent"]) == ("thin", 1)
    assert not {digest(BASE), digest(top)} & containerd.archives[-1]
    assert set(containerd.tags) == {"app:1", "app:2"}
    assert not transfer("app:1", "app:2")["changed"]


def test_blob_that_the_containerd_store_lost_makes_it_a_whole_archive(
    controller: FakeEngine, containerd: ContainerdEngine, transfer: t.Callable[..., Result]
) -> None:
    controller.add("app:1", [BASE, CODE])
    controller.add("app:2", [BASE, tar({"code": b"two"})])
    transfer("app:1")
    del containerd.blobs[digest(BASE)]
    report = transfer("app:2")["images"]["app:2"]
    assert report["path"] == "full"
    assert "no manifest of it for linux/amd64 is available" in report["reason"]
    assert digest(BASE) in containerd.blobs
    assert set(containerd.tags) == {"app:1", "app:2"}


def test_another_image_of_a_containerd_store_is_removed(
    controller: FakeEngine, containerd: ContainerdEngine, transfer: t.Callable[..., Result]
) -> None:
    controller.add("app:1", [BASE, CODE])
    real = containerd._load

    def wrong(content: bytes) -> str:
        real(content)
        ((name, image),) = containerd.tags.items()
        containerd.tags[name] = "sha256:" + "0" * 64
        containerd.images[containerd.tags[name]] = containerd.images.pop(image)
        return ""

    containerd._load = wrong  # type: ignore[method-assign]
    result = transfer("app:1")
    assert result["failed"]
    assert "wrong and was removed: id is sha256:000" in result["msg"]
    assert (containerd.images, containerd.tags) == ({}, {})


def versions(controller: FakeEngine, transfer: t.Callable[..., Result], count: int, **more: t.Any) -> list[Result]:
    """Bring app:1, app:2 and so on, one after the other."""
    results = []
    for number in range(1, count + 1):
        controller.add(f"app:{number}", [BASE, tar({"code": str(number).encode()})])
        results.append(transfer(f"app:{number}", **more))
    return results


def test_older_images_than_the_newest_go(controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]) -> None:
    results = versions(controller, transfer, 4, keep=2)
    assert [result["removed"] for result in results] == [[], [], ["app:1"], ["app:2"]]
    assert "app:2 (sha256:" in results[3]["diff"]["prepared"]
    assert set(host.engine.tags) == {"app:3", "app:4"}
    assert not transfer("app:4", keep=2)["changed"]


def test_check_mode_tells_what_would_go(controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]) -> None:
    versions(controller, transfer, 3)
    controller.add("app:4", [BASE])
    planned = transfer("app:4", keep=1, check=True)
    assert (planned["changed"], planned["removed"]) == (True, ["app:1", "app:2", "app:3"])
    assert set(host.engine.tags) == {"app:1", "app:2", "app:3"}
    assert transfer("app:4", keep=3, check=True)["removed"] == ["app:1"]


def test_what_is_let_go_later_goes_when_something_arrives(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]
) -> None:
    versions(controller, transfer, 2)
    host.engine.containers = [host.engine.tags["app:1"]]
    controller.add("app:3", [BASE])
    assert transfer("app:3", keep=1)["removed"] == ["app:2"]
    host.engine.containers = []
    again = transfer("app:3", keep=1)
    assert (again["changed"], again["removed"], again["diff"]["prepared"]) == (False, [], "")
    controller.add("app:4", [BASE, CODE])
    assert transfer("app:4", keep=1)["removed"] == ["app:1", "app:3"]


def test_what_is_needed_stays(controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]) -> None:
    versions(controller, transfer, 5, keep=9)
    host.engine.containers = [host.engine.tags["app:1"]]
    release = host.apps / "iris" / "releases" / "7" / "release.json"
    release.parent.mkdir(parents=True)
    release.write_text(json.dumps({"image": "app:2", "image_key": host.engine.tags["app:2"]}))
    controller.add("app:6", [BASE])
    assert transfer("app:6", keep=1)["removed"] == ["app:3", "app:4", "app:5"]
    assert set(host.engine.tags) == {"app:1", "app:2", "app:6"}


def test_release_that_cannot_be_read_keeps_all(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]
) -> None:
    versions(controller, transfer, 2)
    release = host.apps / "iris" / "releases" / "7" / "release.json"
    release.parent.mkdir(parents=True)
    release.write_text("{")
    controller.add("app:3", [BASE])
    assert transfer("app:3", keep=1)["removed"] == []
    assert set(host.engine.tags) == {"app:1", "app:2", "app:3"}


def test_images_of_others_stay(controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]) -> None:
    host.engine.add("theirs:1", [tar({"theirs": b"1"})])
    key = controller.add("app:0", [tar({"app": b"0"})])
    host.engine.add("pulled:1", [tar({"app": b"0"})])
    assert transfer("app:0")["images"]["app:0"]["path"] == "tag"
    versions(controller, transfer, 2)
    host.engine.tags["mine"] = host.engine.tags["app:1"]
    controller.add("app:3", [BASE])
    assert transfer("app:3", keep=1)["removed"] == ["app:2"]
    del host.engine.tags["mine"]
    controller.add("app:4", [BASE, CODE])
    assert transfer("app:4", keep=1)["removed"] == ["app:1", "app:3"]
    assert set(host.engine.tags) == {"theirs:1", "pulled:1", "app:0", "app:4"}
    assert host.engine.tags["app:0"] == key


def test_image_whose_name_moved_on_goes_too(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]
) -> None:
    controller.add("app:dev", [BASE, CODE])
    transfer("app:dev")
    key = controller.add("app:dev", [BASE, tar({"code": b"two"})])
    result = transfer("app:dev", keep=1)
    assert result["removed"] == ["app:dev"]
    assert (list(host.engine.images), host.engine.tags) == ([key], {"app:dev": key})


def test_what_a_killed_load_left_is_tidied_up(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]
) -> None:
    host.engine.add("modelyard-arriving:0123", [tar({"left": b"over"})])
    controller.add("app:1", [BASE])
    transfer("app:1")
    assert set(host.engine.tags) == {"app:1"}


def test_keep_below_one_is_refused(controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]) -> None:
    controller.add("app:1", [BASE])
    assert "keep is below 1" in transfer("app:1", keep=0)["msg"]
    assert host.calls == []


def test_archive_as_the_source(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result], tmp_path: Path
) -> None:
    key = controller.add("a:1", [BASE, CODE])
    (tmp_path / "a.tar").write_bytes(controller._save(key))
    transfer({"name": "app:1", "source": "docker-archive", "path": str(tmp_path / "a.tar"), "reference": "a:1"})
    assert host.engine.tags == {"app:1": key}


PULLED = "registry.example/app@sha256:" + "a" * 64


def test_host_pulls_what_comes_from_a_registry(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]
) -> None:
    wanted = {"name": "pulled:1", "source": "registry", "reference": PULLED}
    planned = transfer(wanted, check=True)
    assert planned["images"]["pulled:1"]["path"] == "pull"
    assert f"pulled:1 ({PULLED}): the host pulls it" in planned["diff"]["prepared"]
    key = host.engine.add(PULLED, [BASE])
    result = transfer(wanted)
    assert (result["images"]["pulled:1"]["key"], result["images"]["pulled:1"]["path"]) == (key, "tag")
    assert host.engine.tags["pulled:1"] == key
    controller.add("app:1", [BASE, CODE])
    images = transfer(wanted, "app:1")["images"]
    assert [images[name]["path"] for name in ("pulled:1", "app:1")] == ["present", "thin"]
    assert not transfer(wanted)["changed"]


def test_layout_as_the_source_needs_no_engine_here(
    host: Host, transfer: t.Callable[..., Result], controller: FakeEngine, tmp_path: Path
) -> None:
    controller.get = mock.Mock(side_effect=EngineUnreachable("none here"))  # type: ignore[method-assign]
    images = {architecture: config([BASE, CODE], architecture) for architecture in ("arm64", "amd64")}
    blobs = tmp_path / "layout/blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(content: bytes) -> dict[str, t.Any]:
        (blobs / digest(content)[7:]).write_bytes(content)
        return {"digest": digest(content), "size": len(content)}

    layers = [blob(BASE), blob(CODE)]
    texts = [json.dumps({"config": blob(text), "layers": layers}) for text in images.values()]
    manifests = [blob(text.encode()) for text in texts]
    (blobs.parents[1] / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (blobs.parents[1] / "index.json").write_text(json.dumps({"manifests": manifests}))
    wanted = {"name": "app:1", "source": "oci", "path": str(blobs.parents[1])}
    assert transfer(wanted)["images"]["app:1"]["key"] == digest(images["amd64"])
    assert host.engine.tags == {"app:1": digest(images["amd64"])}
    host.engine.version["Arch"] = "s390x"
    assert "is an image for linux/amd64, linux/arm64" in transfer(wanted)["msg"]


@pytest.mark.parametrize("call", ["_load", "post", "delete"])
def test_engine_that_goes_away_meanwhile_is_waited_for(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """While it loads the image, before that has its name, and before it loses the one it came with."""
    key = controller.add("app:1", [BASE, CODE])
    answers = [EngineUnreachable("the engine went away meanwhile"), *[mock.DEFAULT] * 9]
    monkeypatch.setattr(host.engine, call, mock.Mock(side_effect=answers, wraps=getattr(host.engine, call)))
    report = transfer("app:1")["images"]["app:1"]
    assert (host.puts, host.engine.tags) == (1, {"app:1": key})
    assert report["changed"]


def test_target_without_zstd_gets_what_it_can_read(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = controller.add("app:1", [BASE, CODE])
    real = image_look.look
    monkeypatch.setattr(image_look, "look", lambda *arguments: {**real(*arguments), "codecs": ["zlib"]})
    transfer("app:1")
    assert host.engine.tags == {"app:1": key}


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (["app"], "does not name an image with its tag"),
        (["app:latest"], "latest"),
        (["app:1", "app:1"], "names app:1 twice"),
        (["app:9"], "has no image app:9"),
    ],
)
def test_wrong_images_are_named_before_anything_is_done(
    controller: FakeEngine, host: Host, transfer: t.Callable[..., Result], images: list[str], message: str
) -> None:
    controller.add("app:1", [BASE])
    result = transfer(*images)
    assert result["failed"]
    assert message in result["msg"]
    assert host.calls == []


def test_no_images_no_work(controller: FakeEngine, host: Host, transfer: t.Callable[..., Result]) -> None:
    result = transfer()
    assert (result["changed"], result["images"], host.calls) == (False, {}, [])
