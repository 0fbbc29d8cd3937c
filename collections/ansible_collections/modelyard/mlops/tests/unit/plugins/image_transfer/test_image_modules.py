# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What the modules of image_transfer say when the engine is away, refuses, or what they keep cannot be read."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.engine import EngineError
from ansible_collections.modelyard.mlops.plugins.module_utils.image_loader import LoadFailed
from ansible_collections.modelyard.mlops.plugins.module_utils.image_records import Record
from ansible_collections.modelyard.mlops.plugins.module_utils.image_target import Target
from ansible_collections.modelyard.mlops.plugins.modules import image_load, image_look, image_prune, image_pull
from ansible_collections.modelyard.mlops.tests.unit.plugins.image_transfer.fakes import FakeEngine, tar
from ansible_collections.modelyard.mlops.tests.unit.plugins.running import run_module

REFERENCE = "registry.example/app@sha256:" + "a" * 64
WANTED = {"name": "app:1", "key": "sha256:b", "layers": [], "os": "linux", "architecture": "amd64"}


@pytest.fixture
def place(tmp_path: Path) -> dict[str, t.Any]:
    """A host without an engine."""
    return {"engine_socket": str(tmp_path / "docker.sock"), "staging": str(tmp_path / "images/staging")}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """An engine for the modules, wherever they look for it."""
    fake = FakeEngine()
    for module in (image_load, image_prune, image_pull):
        monkeypatch.setattr(module, "Engine", lambda *_: fake)
    return fake


def test_engine_that_is_away_is_named(place: dict[str, t.Any]) -> None:
    for main, arguments in (
        (image_prune.main, {}),
        (image_pull.main, {"name": "app:1", "reference": REFERENCE}),
    ):
        said = run_module(main, {**arguments, **place})
        assert said["failed"]
        assert "docker.sock" in said["msg"]


def test_preview_of_a_pull_needs_no_engine(place: dict[str, t.Any]) -> None:
    said = run_module(image_pull.main, {"name": "app:1", "reference": REFERENCE, "_ansible_check_mode": True, **place})
    assert (said["changed"], said["path"]) == (True, "pull")


def test_pull_by_tag_is_refused_before_the_engine_is_asked(place: dict[str, t.Any]) -> None:
    said = run_module(image_pull.main, {"name": "app:1", "reference": "registry.example/app:1", **place})
    assert "write registry/repository@sha256:DIGEST" in said["msg"]


@pytest.mark.usefixtures("engine")
def test_what_the_engine_says_of_a_pull_is_told(place: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: t.Any, **__: t.Any) -> None:
        raise EngineError(500, "no space left on device")

    monkeypatch.setattr(Target, "pull", refuse)
    said = run_module(image_pull.main, {"name": "app:1", "reference": REFERENCE, **place})
    assert said["msg"] == f"app:1: the engine does not pull {REFERENCE}: no space left on device"


def test_none_of_a_repository_is_not_what_keep_may_say(place: dict[str, t.Any]) -> None:
    said = run_module(image_prune.main, {"keep": 0, **place})
    assert said["msg"].startswith("keep is 0: at least the newest image")


@pytest.mark.usefixtures("engine")
def test_records_that_cannot_be_read_keep_every_image(place: dict[str, t.Any]) -> None:
    folder = Path(place["staging"]).parent
    folder.mkdir()
    (folder / "images.json").write_text("{")
    said = run_module(image_prune.main, place)
    assert said["failed"]
    assert "no image is removed" in said["msg"]


@pytest.mark.parametrize("check", [True, False])
def test_image_that_the_engine_does_not_let_go_is_a_warning(
    check: bool, engine: FakeEngine, place: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.add("app:1", [tar({"app": b"1"})])
    key = engine.tags["app:1"]
    old = Record(key, key, 1.0, ("app:1",))
    monkeypatch.setattr(image_prune, "surplus", lambda *_: [old])

    def refuse(*_: t.Any) -> None:
        raise EngineError(409, "a container uses it")

    monkeypatch.setattr(Target, "remove", refuse)
    said = run_module(image_prune.main, {"_ansible_check_mode": check, **place})
    assert said["removed"] == ([{"name": "app:1", "key": key}] if check else [])
    assert said["warnings"] == ([] if check else ["an image that is needed no more stays: a container uses it"])


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(("refused", "check"), [(True, False), (False, False), (False, True)])
def test_load_ends_with_an_answer_or_one_message(
    refused: bool, check: bool, place: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def bring(*_: t.Any) -> dict[str, t.Any]:
        if refused:
            raise LoadFailed("the engine refuses app:1")
        return {"changed": True, "path": "loaded", "warning": "figures of app:1 are not up to date"}

    monkeypatch.setattr(image_load, "bring", bring)
    said = run_module(image_load.main, {**WANTED, "_ansible_check_mode": check, **place})
    if refused:
        assert said["msg"] == "the engine refuses app:1"
    else:
        assert said["changed"]
        assert said["warnings"] == ([] if check else ["figures of app:1 are not up to date"])


def test_host_without_an_engine_is_looked_at_all_the_same(place: dict[str, t.Any]) -> None:
    said = run_module(image_look.main, {"images": [{"name": "app:1", "key": "sha256:b"}], **place})
    assert (said["changed"], said["engine"]) == (False, None)
    assert "docker.sock" in said["problem"]
