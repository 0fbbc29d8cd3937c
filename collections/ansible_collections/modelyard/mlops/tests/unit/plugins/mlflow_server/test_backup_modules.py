# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""mlflow_backup's and mlflow_restore's entry points: what is saved, what comes back, and how they refuse."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.container import SPEC_LABEL
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_archive import Archives
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_change import Pending, locked
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_database import Sqlite
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_server import CONTAINER, describe
from ansible_collections.modelyard.mlops.plugins.modules import mlflow_backup, mlflow_restore
from ansible_collections.modelyard.mlops.tests.unit.plugins.running import run_module

from ..container.fakes import FakeContainers, FakeEngine
from .databases import execute, runs
from .lives import Life, everything, running
from .test_mlflow_server import options


class Play:
    """A host with a server, and the tasks that save and restore its data."""

    def __init__(self, folder: Path, containers: FakeContainers) -> None:
        self.folder, self.containers = folder, containers
        self.backups = folder / "backups"

    def backup(self, **options: Any) -> dict[str, Any]:
        owner = pwd.getpwuid(os.getuid()).pw_name
        return run_module(mlflow_backup.main, {"folder": str(self.backups), "owner": owner, **options})

    def restore(self, **options: Any) -> dict[str, Any]:
        return run_module(mlflow_restore.main, {"folder": str(self.backups), "start_timeout": 1, **options})


@pytest.fixture
def play(
    data: Path,
    tmp_path: Path,
    archives: Archives,
    containers: FakeContainers,
    life: Life,
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> Play:
    monkeypatch.setattr(mlflow_backup, "Containers", lambda engine: containers)
    monkeypatch.setattr(mlflow_restore, "Containers", lambda engine: containers)
    monkeypatch.setattr(mlflow_restore, "Engine", lambda socket: engine)
    execute(data / "mlflow.db", "UPDATE alembic_version SET version_num = 'new'")
    containers.run(CONTAINER, describe(options(data=str(data), uid=os.getuid()), "tomorrow", ""))
    return Play(tmp_path, containers)


def test_a_backup_says_what_is_in_it(play: Play) -> None:
    said = play.backup()
    archive = play.backups / said["name"]
    assert (said["changed"], said["archive"], said["deleted"]) == (True, str(archive), [])
    assert (said["artifacts"], said["files"], said["bytes"]) == (True, 2, archive.stat().st_size)
    assert said["archives"] == [said["name"]]
    assert said["diff"] == {"before": "", "after": f"{said['name']}\n"}
    assert archive.with_name(said["name"] + ".sha256").exists()


def test_a_backup_deletes_what_is_one_too_many_as_its_preview_says(play: Play) -> None:
    first = play.backup(keep=1)["name"]
    before = everything(play.folder, play.containers)
    preview = play.backup(keep=1, _ansible_check_mode=True)
    assert everything(play.folder, play.containers) == before
    assert (preview["changed"], preview["deleted"], preview["archives"]) == (True, [first], [preview["name"]])
    said = play.backup(keep=1)
    assert (said["deleted"], said["archives"]) == ([first], [said["name"]])
    assert said["diff"] == {"before": f"{first}\n", "after": f"{said['name']}\n"}
    assert not (play.backups / first).exists()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"keep": 0}, "mlflow_backup_keep: 0 is too few: 1 is the least"),
        ({"owner": "no such user"}, "owner: the host has no user 'no such user'"),
    ],
)
def test_bad_options_are_refused_by_name(option: dict[str, Any], words: str, play: Play) -> None:
    assert play.backup(**option)["msg"] == words
    assert not play.backups.exists()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"keep": 0}, "mlflow_backup_keep: 0 is too few: 1 is the least"),
        ({"image": "mlflow:latest"}, "mlflow_restore_image: 'mlflow:latest' says latest"),
    ],
)
def test_bad_options_of_a_restore_are_refused_by_name(option: dict[str, Any], words: str, play: Play) -> None:
    assert play.restore(**option)["msg"].startswith(words)


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_database_that_cannot_be_read_is_not_saved(play: Play, data: Path, check_mode: bool) -> None:
    (data / "mlflow.db").write_text("no database" * 1000)
    said = play.backup(_ansible_check_mode=check_mode)
    assert said["failed"]
    assert "mlflow.db" in said["msg"]
    assert not list(play.backups.glob("mlflow-*"))


@pytest.mark.parametrize("labels", [None, {}])
def test_without_a_server_there_is_nothing_to_save_or_restore(
    labels: dict[str, str] | None, play: Play, containers: FakeContainers
) -> None:
    if labels is None:
        containers.remove(CONTAINER)
    else:
        del containers.containers[CONTAINER]["Config"]["Labels"][SPEC_LABEL]
    for said in (play.backup(), play.restore()):
        assert f"the host has no container {CONTAINER} of this collection" in said["msg"]


def test_what_is_not_settled_is_not_saved(play: Play, archives: Archives, database: Sqlite, data: Path) -> None:
    Pending(archives.folder, database, str(data)).begin("upgrade")
    assert "a change of MLflow's data is not settled" in play.backup()["msg"]
    assert archives.names() == []


def test_saving_and_restoring_wait_for_each_other(play: Play, archives: Archives) -> None:
    name = play.backup()["name"]
    with locked(archives.folder):
        for said in (play.backup(), play.restore()):
            assert "another run works on this server's data" in said["msg"]
    assert archives.names() == [name]


def test_the_latest_backup_is_restored(play: Play, data: Path) -> None:
    saved = play.backup()
    execute(data / "mlflow.db", "INSERT INTO runs VALUES ('second')")
    said = play.restore()
    assert runs(data / "mlflow.db") == ["first"]
    assert (said["changed"], said["archive"]) == (True, saved["archive"])
    assert (said["files"], said["artifacts"]) == (2, True)
    assert said["diff"]["after"] == f"{saved['name']} of {said['created']}: schema new, 2 files\n"
    assert "before-restore" in said["former"]
    back = play.restore(backup=os.path.basename(said["former"]))
    assert runs(data / "mlflow.db") == ["first", "second"]
    assert (back["archive"], back["artifacts"]) == (said["former"], False)


def test_a_preview_of_a_restore_checks_the_archive_only(play: Play, data: Path) -> None:
    saved = play.backup()
    execute(data / "mlflow.db", "INSERT INTO runs VALUES ('second')")
    before = everything(play.folder, play.containers)
    said = play.restore(_ansible_check_mode=True)
    assert everything(play.folder, play.containers) == before
    assert (said["changed"], said["archive"], said["files"], said["former"]) == (True, saved["archive"], 2, "")
    assert said["diff"]["after"].startswith(saved["name"])


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_damaged_backup_is_refused(play: Play, check_mode: bool) -> None:
    archive = Path(play.backup()["archive"])
    archive.write_bytes(archive.read_bytes()[:-100])
    before = everything(play.folder, play.containers)
    said = play.restore(_ansible_check_mode=check_mode)
    assert f"the backup {archive} cannot be restored: its SHA-256 is not the one in" in said["msg"]
    assert everything(play.folder, play.containers) == before


def test_another_image_serves_what_was_restored(play: Play, containers: FakeContainers) -> None:
    play.backup()
    assert play.restore(image="mlflow:1")["changed"]
    assert running(containers) == {CONTAINER: "today"}


def test_what_is_not_there_is_said_and_leaves_the_server_alone(play: Play, containers: FakeContainers) -> None:
    assert "there is no backup 'latest'" in play.restore()["msg"]
    name = play.backup()["name"]
    assert play.restore(backup="other")["msg"].endswith(f"There is: {name}")
    assert play.restore(image="mlflow:3")["msg"].startswith("image: the host does not have 'mlflow:3'")
    assert running(containers) == {CONTAINER: "tomorrow"}


def test_a_restore_on_which_the_server_does_not_work_fails(play: Play, data: Path, life: Life) -> None:
    play.backup()
    execute(data / "mlflow.db", "INSERT INTO runs VALUES ('second')")
    life.broken = {"tomorrow"}
    assert f"container {CONTAINER} ended with exit code" in play.restore()["msg"]
    assert runs(data / "mlflow.db") == ["first", "second"]
