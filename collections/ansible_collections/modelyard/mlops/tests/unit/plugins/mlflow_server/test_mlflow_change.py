# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""A change of the data is settled or taken back, whenever the run that makes it dies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_archive import ArchiveError, Archives
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_change import (
    ChangeError,
    Pending,
    Restore,
    Upgrade,
    locked,
)
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_database import Sqlite

from .databases import execute, runs

MODEL = "artifacts/1/model/model.onnx"


class Death(BaseException):
    """The host is switched off."""


@pytest.fixture
def pending(archives: Archives, database: Sqlite, data: Path) -> Pending:
    return Pending(archives.folder, database, str(data))


@pytest.fixture
def restore(pending: Pending, archives: Archives, database: Sqlite, data: Path) -> Restore:
    """The way back to what is saved, on data that has changed since."""
    archives.write(archives.next_name(), database, str(data / "artifacts"))
    execute(data / "mlflow.db", "INSERT INTO runs VALUES ('second')")
    (data / MODEL).write_text("a later model")
    return Restore(pending, archives, database, str(data), os.getuid())


def later(data: Path) -> bool:
    """Whether the data is what it was before the restore."""
    return runs(data / "mlflow.db") == ["first", "second"] and (data / MODEL).read_text() == "a later model"


def test_an_upgrade_is_preceded_by_a_backup(pending: Pending, archives: Archives, database: Sqlite, data: Path) -> None:
    upgrade = Upgrade(
        pending, archives, database, lambda: execute(data / "mlflow.db", "UPDATE alembic_version SET version_num='new'")
    )
    upgrade.apply()
    assert (pending.kind, pending.proven) == ("upgrade", False)
    upgrade.prove()
    assert (pending.kind, pending.proven) == ("upgrade", True)
    pending.settle()
    assert pending.kind == ""
    assert database.schema().revision == "new"
    assert archives.names() == [os.path.basename(upgrade.backup)]
    assert upgrade.backup.endswith("-before-upgrade.tar.gz")


def test_an_upgrade_that_fails_half_way_is_taken_back(
    pending: Pending, archives: Archives, database: Sqlite, data: Path
) -> None:
    def fail() -> None:
        execute(data / "mlflow.db", "DROP TABLE runs")
        raise OSError

    upgrade = Upgrade(pending, archives, database, fail)
    with pytest.raises(OSError):  # noqa: PT011
        upgrade.apply()
    upgrade.take_back()
    assert runs(data / "mlflow.db") == ["first"]
    assert pending.kind == ""


def test_an_upgrade_without_room_for_its_backup_changes_nothing(
    pending: Pending, archives: Archives, database: Sqlite, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise ArchiveError("No space left on device")

    monkeypatch.setattr(archives, "write", full)
    upgrade = Upgrade(pending, archives, database, lambda: execute(data / "mlflow.db", "DROP TABLE runs"))
    with pytest.raises(ArchiveError):
        upgrade.apply()
    upgrade.take_back()
    assert runs(data / "mlflow.db") == ["first"]


def test_a_restore_brings_database_and_artifacts(
    restore: Restore, archives: Archives, pending: Pending, data: Path
) -> None:
    restore.unpack(archives.find("latest"))
    restore.apply()
    pending.prove()
    pending.settle()
    assert runs(data / "mlflow.db") == ["first"]
    assert (data / MODEL).read_bytes() == b"a model" * 1000
    assert restore.former.endswith("-before-restore.tar.gz")
    assert sorted(path.name for path in data.iterdir()) == ["artifacts", "mlflow.db"]


def test_a_restore_is_taken_back(restore: Restore, archives: Archives, pending: Pending, data: Path) -> None:
    restore.unpack(archives.find("latest"))
    restore.apply()
    pending.take_back()
    assert later(data)
    assert sorted(path.name for path in data.iterdir()) == ["artifacts", "mlflow.db"]


@pytest.mark.parametrize("step", ["keep", "load", "exchange_artifacts", "rename aside", "rename in"])
def test_a_restore_that_dies_anywhere_is_taken_back_by_the_next_run(
    restore: Restore,
    archives: Archives,
    pending: Pending,
    database: Sqlite,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    def die(*_: object) -> None:
        raise Death

    rename, seen = os.rename, list[str]()

    def dying_rename(source: str, target: str) -> None:
        seen.append(source)
        if len(seen) == (1 if step == "rename aside" else 2):
            raise Death
        rename(source, target)

    restore.unpack(archives.find("latest"))
    with monkeypatch.context() as patch:
        if step.startswith("rename"):
            patch.setattr(os, "rename", dying_rename)
        else:
            patch.setattr(pending if step == "exchange_artifacts" else database, step, die)
        with pytest.raises(Death):
            restore.apply()
    Pending(archives.folder, database, str(data)).take_back()
    assert later(data)


def test_a_lost_folder_is_made_again(
    restore: Restore, archives: Archives, pending: Pending, data: Path, tmp_path: Path
) -> None:
    data.rename(tmp_path / "lost")
    restore.unpack(archives.find("latest"))
    restore.apply()
    assert restore.former == "", "there was nothing to save"
    pending.prove()
    pending.settle()
    assert runs(data / "mlflow.db") == ["first"]


def test_a_damaged_database_does_not_keep_anybody_from_restoring(
    restore: Restore, archives: Archives, pending: Pending, data: Path
) -> None:
    (data / "mlflow.db").write_text("damaged")
    restore.unpack(archives.find("latest"))
    restore.apply()
    assert runs(data / "mlflow.db") == ["first"]
    pending.take_back()
    assert (data / "mlflow.db").read_text() == "damaged"


def test_an_archive_that_cannot_be_trusted_touches_nothing(restore: Restore, archives: Archives, data: Path) -> None:
    path = archives.find("latest")
    Path(path).write_bytes(Path(path).read_bytes()[:-1])
    with pytest.raises(ArchiveError):
        restore.unpack(path)
    assert later(data)
    assert sorted(one.name for one in data.iterdir()) == ["artifacts", "mlflow.db"]


def test_two_do_not_work_on_the_same_data(tmp_path: Path) -> None:
    with locked(str(tmp_path)), pytest.raises(ChangeError, match="another run works"), locked(str(tmp_path)):
        pass
    with locked(str(tmp_path)):
        pass
