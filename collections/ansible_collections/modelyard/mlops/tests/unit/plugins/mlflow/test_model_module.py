# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""mlflow_model's entry point: which version it brings, what it says of it, and how it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.modelyard.mlops.plugins.modules import mlflow_model
from ansible_collections.modelyard.mlops.tests.unit.plugins.running import run_module

from .fakes import FakeMlflow


class Play:
    """A host, and the task that brings a model to it."""

    def __init__(self, server: FakeMlflow, dest: Path) -> None:
        self._server, self.dest = server, dest

    def run(self, **options: Any) -> dict[str, Any]:
        given = {"tracking_uri": self._server.uri, "name": "iris", "dest": str(self.dest), "timeout": 5}
        return run_module(mlflow_model.main, {**given, **options})

    def preview(self, **options: Any) -> dict[str, Any]:
        """What check mode says, which must neither fetch nor write."""
        before, fetched = self.files(), self._server.downloads()
        said = self.run(_ansible_check_mode=True, **options)
        assert (self.files(), self._server.downloads()) == (before, fetched)
        return said

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.dest)) for path in self.dest.rglob("*"))


@pytest.fixture
def play(server: FakeMlflow, tmp_path: Path) -> Play:
    return Play(server, tmp_path / "models")


def test_a_version_is_fetched_once(play: Play, server: FakeMlflow) -> None:
    said = play.run(alias="champion")
    assert {key: said[key] for key in ("changed", "resolved", "name", "version", "run_id", "tags")} == {
        "changed": True,
        "resolved": True,
        "name": "iris",
        "version": "2",
        "run_id": "run",
        "tags": server.tags,
    }
    assert said["path"] == str(play.dest / "iris/2")
    assert said["digest"] == server.tags["modelyard.checksums"]
    assert said["bytes"] == sum(len(server.files[path]) for path in ("model.onnx", "meta/model.json"))
    assert said["diff"] == {"before": "", "after": f"iris version 2 {said['digest']}\n"}

    fetched = server.downloads()
    again = play.run(alias="champion")
    assert (again["changed"], again["bytes"], again["digest"]) == (False, 0, said["digest"])
    assert again["diff"]["before"] == again["diff"]["after"] == said["diff"]["after"]
    assert server.downloads() == fetched


def test_a_version_is_named_by_its_number(play: Play) -> None:
    said = play.run(version="10")
    assert (said["version"], said["path"]) == ("10", str(play.dest / "iris/10"))
    assert "iris/10/model.onnx" in play.files()


def test_a_preview_names_the_version(play: Play, server: FakeMlflow) -> None:
    said = play.preview(alias="champion")
    assert (said["changed"], said["resolved"], said["version"], said["bytes"]) == (True, True, "2", 0)
    assert said["digest"] == server.tags["modelyard.checksums"]
    play.run(alias="champion")
    assert play.preview(alias="champion")["changed"] is False


def test_a_preview_does_not_know_the_digest_of_what_has_no_tag(play: Play, server: FakeMlflow) -> None:
    server.tags = {}
    said = play.preview(alias="champion")
    assert said["digest"] == ""
    assert said["diff"]["after"] == "iris version 2\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alias": "nobody"}, "the alias 'nobody' points nowhere"),
        ({"version": "3"}, "has no version 3 of 'iris'"),
        ({"alias": "champion", "tracking_uri": "http://127.0.0.1:1"}, "no MLflow server answers at http://127.0.0.1:1"),
    ],
)
def test_what_a_play_may_make_yet_is_missing_only_without_check_mode(
    options: dict[str, Any], words: str, play: Play
) -> None:
    said = play.preview(**options)
    assert (said["changed"], said["resolved"]) == (True, False)
    assert said["warnings"][0].startswith("what would be fetched is not known yet: ")
    assert words in said["warnings"][0]
    said = play.run(**options)
    assert said["failed"]
    assert said["msg"].startswith("model iris: ")
    assert words in said["msg"]


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "one of the following is required: alias, version"),
        ({"alias": "champion", "version": "2"}, "parameters are mutually exclusive: alias|version"),
        ({"alias": "champion", "name": "../iris"}, "model ../iris: name: '../iris' cannot be a folder's name"),
        ({"alias": "champion", "tracking_uri": "ftp://x"}, "model iris: tracking_uri: 'ftp://x' must begin with http"),
        ({"alias": "champion", "ca_path": "/nowhere.pem"}, "model iris: ca_path: '/nowhere.pem' holds no certificates"),
    ],
)
def test_bad_options_are_refused_by_name(options: dict[str, Any], words: str, check_mode: bool, play: Play) -> None:
    said = play.run(_ansible_check_mode=check_mode, **options)
    assert said["failed"]
    assert words in said["msg"]
    assert play.files() == []


def test_the_login_is_used_and_never_said(play: Play, server: FakeMlflow) -> None:
    server.login = "reader:very-secret"
    assert play.run(alias="champion", username="reader", password="very-secret")["changed"]
    said = play.run(alias="champion", username="reader", password="wrong-secret")
    assert said["failed"]
    assert "wrong-secret" not in str(said)


def test_a_damaged_model_is_refused(play: Play, server: FakeMlflow) -> None:
    server.files["model.onnx"] = b"altered"
    assert play.run(alias="champion")["msg"].startswith("model iris: ")
    assert play.files() == ["iris", "iris/.lock"]


def test_a_folder_that_cannot_be_written_is_said(play: Play) -> None:
    play.dest.write_text("a file")
    assert play.run(alias="champion")["msg"].startswith("model iris: the files cannot be written: ")
