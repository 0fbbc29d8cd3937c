# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""mlflow_server's entry point: what it says it did, what a preview leaves alone, and how it refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.engine import Engine
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_archive import Archives
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_change import Pending, locked
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_database import Sqlite
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_server import CONTAINER
from ansible_collections.modelyard.mlops.plugins.modules import mlflow_server
from ansible_collections.modelyard.mlops.tests.unit.plugins.running import run_module

from ..container.fakes import FakeContainers, FakeEngine
from .lives import IMAGE, Life, everything, running

KEYS = {"bucket": "models", "access_key_id": "id", "secret_access_key": "very-secret"}


class Play:
    """A host, and the task that keeps a server on it."""

    def __init__(self, data: Path, folder: Path, containers: FakeContainers) -> None:
        self.folder, self._containers = folder, containers
        self._options = {
            "data": str(data),
            "uid": os.getuid(),
            "secrets": str(folder / "secrets"),
            "backups": str(folder / "backups"),
            "start_timeout": 1,
        }

    def run(self, image: str = "mlflow:2", **options: Any) -> dict[str, Any]:
        return run_module(mlflow_server.main, {"image": image, **self._options, **options})

    def preview(self, image: str = "mlflow:2", **options: Any) -> dict[str, Any]:
        """What check mode says, which must leave the host as it is."""
        before = everything(self.folder, self._containers)
        said = self.run(image, _ansible_check_mode=True, **options)
        assert everything(self.folder, self._containers) == before
        return said

    def secrets(self) -> list[dict[str, str]]:
        """The files of each folder with secrets."""
        folders = (self.folder / "secrets").glob("*")
        return [{file.name: file.read_text() for file in folder.iterdir()} for folder in folders]


@pytest.fixture
def play(
    data: Path,
    tmp_path: Path,
    archives: Archives,
    life: Life,
    containers: FakeContainers,
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> Play:
    """A host with a database of an older schema, and two images."""
    monkeypatch.setattr(mlflow_server, "Engine", lambda socket: engine)
    return Play(data, tmp_path, containers)


@pytest.fixture
def serving(play: Play, containers: FakeContainers) -> Play:
    """A host where the older image, which wants the older schema, runs."""
    containers.log = json.dumps({"head": "old", "known": ["old"]})
    assert play.run("mlflow:1")["changed"]
    containers.log = json.dumps(IMAGE)
    return play


def test_a_server_is_started_once(play: Play, data: Path, containers: FakeContainers) -> None:
    (data / "mlflow.db").unlink()
    said = play.run()
    assert (said["changed"], said["image"], said["upgrade"]) == (True, "tomorrow", False)
    assert said["id"] == containers.containers[CONTAINER]["Id"]
    assert said["diff"]["before"] == ""
    assert json.loads(said["diff"]["after"])["Image"] == "tomorrow"
    assert running(containers) == {CONTAINER: "tomorrow"}
    again = play.run()
    assert again["changed"] is False
    assert again["diff"]["before"] == again["diff"]["after"]
    assert "id" not in again


def test_an_upgrade_names_the_backup_from_before(serving: Play, archives: Archives, database: Sqlite) -> None:
    said = serving.run()
    assert said["upgrade"] is True
    assert [said["backup"]] == [f"{archives.folder}/{name}" for name in archives.names()]
    assert database.schema().revision == "new"
    assert json.loads(said["diff"]["before"])["Image"] == "today"


def test_a_preview_names_the_upgrade(serving: Play) -> None:
    said = serving.preview()
    assert (said["changed"], said["image"], said["upgrade"]) == (True, "tomorrow", True)
    assert json.loads(said["diff"]["before"])["Image"] == "today"
    assert json.loads(said["diff"]["after"])["Image"] == "tomorrow"


def test_a_preview_of_what_runs_has_nothing_to_do(serving: Play) -> None:
    said = serving.preview("mlflow:1")
    assert (said["changed"], said["upgrade"]) == (False, False)


def test_a_server_that_has_stopped_is_started_as_its_preview_says(serving: Play, containers: FakeContainers) -> None:
    containers.stop(CONTAINER)
    assert serving.preview("mlflow:1")["changed"] is True
    assert serving.run("mlflow:1")["changed"] is True
    assert running(containers) == {CONTAINER: "today"}


def test_a_preview_works_without_the_image(play: Play) -> None:
    said = play.preview("mlflow:3")
    assert (said["changed"], said["image"], said["upgrade"]) == (True, "", False)
    assert json.loads(said["diff"]["after"])["Image"] == "mlflow:3"


def test_a_preview_says_that_it_cannot_read_the_database(play: Play, data: Path) -> None:
    (data / "mlflow.db").write_text("no database" * 1000)
    said = play.preview()
    assert (said["changed"], said["upgrade"]) == (True, False)
    assert said["warnings"][0].startswith("whether the database needs an upgrade is not known yet: ")


def test_a_preview_works_without_the_engine(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_server, "Engine", Engine)
    socket = str(play.folder / "no.sock")
    said = play.preview(socket=socket, image_key="sha256:1")
    assert said["changed"] is True
    assert json.loads(said["diff"]["after"])["Image"] == "sha256:1"
    assert socket in play.run(socket=socket)["msg"]


def test_secrets_are_files_of_the_server_and_never_said(play: Play) -> None:
    preview, said = play.preview(s3=KEYS), play.run(s3=KEYS)
    assert preview["changed"]
    assert [list(folder) for folder in play.secrets()] == [["aws"]]
    assert "very-secret" in play.secrets()[0]["aws"]
    for one in (preview, said):
        shown = json.dumps({key: value for key, value in one.items() if key != "invocation"})
        assert f"{play.folder}/secrets/secrets-" in shown
        assert "very-secret" not in shown
    assert play.preview(s3=KEYS)["changed"] is False
    assert play.run(s3={**KEYS, "secret_access_key": "another"})["changed"] is True
    assert ["another" in folder["aws"] for folder in play.secrets()] == [True]


@pytest.mark.parametrize("s3", [KEYS, {}])
def test_a_server_that_does_not_work_leaves_the_former_with_its_secrets(
    play: Play, containers: FakeContainers, life: Life, s3: dict[str, str]
) -> None:
    play.run("mlflow:1", s3=s3)
    before = play.secrets()
    life.broken = {"tomorrow"}
    said = play.run(s3={**KEYS, "secret_access_key": "another"})
    assert said["failed"]
    assert f"container {CONTAINER} ended with exit code" in said["msg"]
    assert running(containers) == {CONTAINER: "today"}
    assert play.secrets() == before


def test_a_first_server_that_does_not_work_leaves_no_secrets(play: Play, life: Life) -> None:
    life.broken = {"tomorrow"}
    assert play.run(s3=KEYS)["failed"]
    assert play.secrets() == []


def test_finishing_what_a_run_that_died_has_left_is_a_change(
    serving: Play, archives: Archives, database: Sqlite, data: Path
) -> None:
    pending = Pending(archives.folder, database, str(data))
    pending.begin("upgrade")
    pending.prove()
    assert serving.run("mlflow:1")["changed"] is True
    assert pending.kind == ""
    assert serving.run("mlflow:1")["changed"] is False


def test_two_runs_do_not_work_on_the_same_data(play: Play, archives: Archives, containers: FakeContainers) -> None:
    with locked(archives.folder):
        assert "another run works on this server's data" in play.run()["msg"]
    assert not containers.containers


def test_an_image_that_is_not_there_is_refused(serving: Play, containers: FakeContainers) -> None:
    assert serving.run("mlflow:3")["msg"].startswith("image: the host does not have 'mlflow:3'")
    assert running(containers) == {CONTAINER: "today"}


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prefix": "mlflow"}, "mlflow_prefix: 'mlflow' must begin with a /"),
        ({"workers": 0}, "mlflow_workers: 0 is too few"),
        ({"keep": 0}, "mlflow_backup_keep: 0 is too few"),
        ({"image": "mlflow:latest"}, "mlflow_image: 'mlflow:latest' says latest"),
        ({"memory": "much"}, "mlflow_memory: 'much' is no size"),
        ({"postgresql": {"password": "x-secret"}}, "mlflow_postgresql: it has a password and no host"),
        ({"postgresql": {"sslmode": "never"}}, "value of sslmode must be one of"),
        ({"s3": {"access_key_id": "id", "secret_access_key": "x-secret"}}, "mlflow_s3: it has an access_key_id and no"),
        ({"s3": {"bucket": "b", "access_key_id": "id"}}, "mlflow_s3: access_key_id and secret_access_key belong"),
    ],
)
def test_bad_options_are_refused_by_name(
    options: dict[str, Any],
    words: str,
    check_mode: bool,
    play: Play,
    containers: FakeContainers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Before the engine is asked, which a preview does without.
    monkeypatch.setattr(mlflow_server, "Engine", Engine)
    said = play.run(_ansible_check_mode=check_mode, socket=str(play.folder / "no.sock"), **options)
    assert said["failed"]
    assert words in said["msg"]
    assert not containers.containers
