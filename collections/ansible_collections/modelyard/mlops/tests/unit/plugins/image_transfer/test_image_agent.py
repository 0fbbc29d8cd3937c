# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What the agent says when the engine is away, refuses, or what is kept cannot be read; and that it runs by itself."""

from __future__ import annotations

import io
import json
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils import (
    image_agent,
    image_agent_start,
    image_house,
    image_loader,
)
from ansible_collections.modelyard.mlops.plugins.module_utils.engine import EngineError
from ansible_collections.modelyard.mlops.plugins.module_utils.image_loader import LoadFailed
from ansible_collections.modelyard.mlops.plugins.module_utils.image_records import Record
from ansible_collections.modelyard.mlops.plugins.module_utils.image_target import Target
from ansible_collections.modelyard.mlops.tests.unit.plugins.image_transfer.fakes import FakeEngine, tar

REFERENCE = "registry.example/app@sha256:" + "a" * 64
PULL = {"name": "app:1", "reference": REFERENCE}
HOUSE = {"images": [{"name": "app:1", "key": "sha256:b"}], "keep": 3, "apps": "/nowhere"}
LOAD = {
    "name": "app:1",
    "key": "sha256:b",
    "layers": [],
    "os": "linux",
    "architecture": "amd64",
    "blobs": [],
    "pack": "",
    "bytes_sent": 0,
    "bytes_skipped": 0,
    "seconds": 0.0,
}

Ask = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Ask the agent of a host without an engine."""

    def answer(*steps: tuple[str, dict[str, t.Any]], check: bool = False) -> dict[str, t.Any]:
        place = {"engine_socket": str(tmp_path / "docker.sock"), "staging": str(tmp_path / "images/staging")}
        return image_agent.answer({**place, "check": check, "steps": steps}, io.BytesIO())

    return answer


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """An engine for the agent, wherever it looks for it."""
    fake = FakeEngine()
    monkeypatch.setattr(image_agent, "Engine", lambda _: fake)
    return fake


@pytest.mark.parametrize("step", [("prune", HOUSE), ("pull", PULL)])
def test_engine_that_is_away_is_named(step: tuple[str, dict[str, t.Any]], ask: Ask) -> None:
    said = ask(step)
    assert said["failed"].startswith("no Docker engine answers at ")
    assert said["answers"] == []


def test_load_without_an_engine_may_be_tried_again(ask: Ask) -> None:
    said = ask(("load", LOAD), ("prune", HOUSE))
    assert [one["outcome"] for one in said["answers"]] == ["interrupted"]
    assert said["answers"][0]["reason"].startswith("no Docker engine answers at ")


def test_host_without_an_engine_is_looked_at_all_the_same(ask: Ask, tmp_path: Path) -> None:
    said = ask(("look", HOUSE))
    assert said["failed"] == ""
    assert said["answers"][0]["engine"] is None
    assert "docker.sock" in said["answers"][0]["problem"]
    assert not (tmp_path / "images").exists()


def test_preview_of_a_pull_needs_no_engine(ask: Ask) -> None:
    (said,) = ask(("pull", PULL), check=True)["answers"]
    assert (said["changed"], said["path"]) == (True, "pull")


def test_pull_by_tag_is_refused_before_the_engine_is_asked(ask: Ask) -> None:
    said = ask(("pull", {"name": "app:1", "reference": "registry.example/app:1"}))
    assert "write registry/repository@sha256:DIGEST" in said["failed"]


@pytest.mark.usefixtures("engine")
def test_what_the_engine_says_of_a_pull_is_told_but_no_password(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: t.Any) -> None:
        raise EngineError(500, f"no entry for {':'.join(arguments[-1])}")

    monkeypatch.setattr(Target, "pull", refuse)
    said = ask(("pull", {**PULL, "username": "reader", "password": "secret"}))
    assert said["failed"] == f"app:1: the engine does not pull {REFERENCE}: no entry for reader:********"


@pytest.mark.usefixtures("engine")
def test_records_that_cannot_be_read_keep_every_image(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/images.json").write_text("{")
    assert ask(("prune", HOUSE))["failed"].startswith("no image is removed, since a release or a record")
    assert ask(("look", HOUSE))["warnings"][0].startswith("no image is removed")


def test_image_that_the_engine_does_not_let_go_is_a_warning(
    engine: FakeEngine, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.add("app:1", [tar({"app": b"1"})])
    key = engine.tags["app:1"]
    monkeypatch.setattr(image_house, "surplus", lambda *_: [Record(key, key, 1.0, ("app:1",))])

    def refuse(*_: t.Any) -> None:
        raise EngineError(409, "a container uses it")

    monkeypatch.setattr(Target, "remove", refuse)
    said = ask(("prune", HOUSE))
    assert said["answers"] == [{"removed": []}]
    assert said["warnings"] == ["an image that is needed no more stays: a container uses it"]


@pytest.mark.usefixtures("engine")
def test_load_that_fails_is_one_message_and_nothing_follows(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def bring(*_: t.Any) -> t.Any:
        raise LoadFailed("the engine refuses app:1")

    monkeypatch.setattr(image_loader, "bring", bring)
    said = ask(("load", LOAD), ("prune", HOUSE))
    assert (said["failed"], said["answers"]) == ("the engine refuses app:1", [])


@pytest.mark.usefixtures("engine")
def test_load_that_brought_nothing_is_the_last_step(ask: Ask) -> None:
    said = ask(("load", LOAD), ("prune", HOUSE))
    assert [one["outcome"] for one in said["answers"]] == ["missing"]


@pytest.mark.usefixtures("engine")
def test_figures_that_cannot_be_written_are_a_warning(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_loader, "bring", lambda *_: ({"outcome": "loaded"}, "figures are not up to date"))
    said = ask(("load", LOAD))
    assert (said["answers"], said["warnings"]) == ([{"outcome": "loaded"}], ["figures are not up to date"])


def test_folder_that_may_not_be_made_is_named(engine: FakeEngine, ask: Ask, tmp_path: Path) -> None:
    engine.add("other:1", [])
    (tmp_path / "images").write_text("a file")
    assert str(tmp_path / "images") in ask(("look", HOUSE))["failed"]


@pytest.mark.parametrize(("uid", "root", "visitor"), [("1000", 0, 1000), ("", 0, None), ("1000", 1000, None)])
def test_who_logs_in_is_known_by_sudo(
    monkeypatch: pytest.MonkeyPatch, uid: str, root: int, visitor: int | None
) -> None:
    monkeypatch.setenv("SUDO_UID", uid)
    monkeypatch.setattr("os.geteuid", lambda: root)
    assert image_agent.visitor() == visitor


def test_modules_come_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start in this process; that it works on a host's Python, the tests of image_host prove."""
    texts = {
        "image_agent": "from .other import NAME\n\ndef main(stream, output):\n    output.write(NAME + stream.read())\n",
        "other": "NAME = __name__\n",
    }
    output = io.StringIO()
    monkeypatch.setattr("sys.stdin", mock_input(io.StringIO(" read")))
    monkeypatch.setattr("sys.stdout", output)
    monkeypatch.setattr("sys.meta_path", list(sys.meta_path))
    image_agent_start.start(texts)
    assert output.getvalue() == "modelyard_sent.other read"
    assert image_agent_start.Sent(texts).find_spec("modelyard_sent.unknown") is None


def mock_input(buffer: io.StringIO) -> t.Any:
    """A standard input with this buffer."""
    return type("Input", (), {"buffer": buffer})


def test_answer_is_one_line_after_a_mark(tmp_path: Path) -> None:
    place = {"engine_socket": str(tmp_path / "docker.sock"), "staging": str(tmp_path), "check": True}
    question = json.dumps({**place, "steps": []}).encode()
    output = io.StringIO()
    image_agent.main(io.BytesIO(b"%d\n" % len(question) + question), output)
    assert output.getvalue() == f'\n{image_agent.MARK}{{"answers": [], "warnings": [], "failed": ""}}\n'
