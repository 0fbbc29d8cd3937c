# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Databases are read, copied while they are written to, and put back as they were."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_database import (
    DatabaseError,
    Postgresql,
    Schema,
    Sqlite,
)

from .databases import execute, runs


def test_the_schema_says_its_revision(database: Sqlite) -> None:
    assert database.schema() == Schema(empty=False, revision="old")


def test_no_file_is_an_empty_database(tmp_path: Path) -> None:
    assert Sqlite(str(tmp_path / "mlflow.db"), 0).schema() == Schema(empty=True)
    assert not (tmp_path / "mlflow.db").exists()


def test_a_file_without_tables_is_an_empty_database(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    assert Sqlite(str(tmp_path / "mlflow.db"), 0).schema() == Schema(empty=True)


def test_tables_without_a_revision_are_no_empty_database(tmp_path: Path) -> None:
    execute(tmp_path / "mlflow.db", "CREATE TABLE runs (name TEXT)")
    assert Sqlite(str(tmp_path / "mlflow.db"), 0).schema() == Schema(empty=False, revision="")


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database" * 100)
    with pytest.raises(DatabaseError, match=r"mlflow.db cannot be read: file is not a database"):
        Sqlite(str(tmp_path / "mlflow.db"), 0).schema()


def test_a_snapshot_holds_what_is_committed(data: Path, database: Sqlite, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(data / "mlflow.db")) as writer:
        writer.execute("INSERT INTO runs VALUES ('not committed')")
        database.snapshot(str(tmp_path / "copy"))
        writer.commit()
    assert runs(tmp_path / "copy") == ["first"]
    database.check(str(tmp_path / "copy"))


def test_loading_replaces_all_of_it(data: Path, database: Sqlite, tmp_path: Path) -> None:
    database.snapshot(str(tmp_path / "copy"))
    execute(data / "mlflow.db", "INSERT INTO runs VALUES ('second')")
    (data / "mlflow.db-journal").touch()
    database.load(str(tmp_path / "copy"))
    assert runs(data / "mlflow.db") == ["first"]
    assert sorted(path.name for path in data.iterdir()) == ["artifacts", "mlflow.db"]


def test_even_a_damaged_database_is_put_back(data: Path, database: Sqlite, tmp_path: Path) -> None:
    (data / "mlflow.db").write_text("damaged")
    (data / "mlflow.db-wal").write_text("and more")
    kept = tmp_path / "kept"
    kept.mkdir()
    database.keep(str(kept))
    (data / "mlflow.db").write_text("other")
    (data / "mlflow.db-journal").write_text("other")
    for _unused in range(2):
        database.put_back(str(kept))
        assert (data / "mlflow.db").read_text() == "damaged"
        assert (data / "mlflow.db-wal").read_text() == "and more"
        assert not (data / "mlflow.db-journal").exists()


def test_no_database_is_put_back_as_none(tmp_path: Path) -> None:
    database = Sqlite(str(tmp_path / "mlflow.db"), os.getuid())
    kept = tmp_path / "kept"
    kept.mkdir()
    database.keep(str(kept))
    (tmp_path / "mlflow.db").touch()
    database.put_back(str(kept))
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize("content", [b"", b"no database" * 100])
def test_a_copy_is_checked(database: Sqlite, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "copy").write_bytes(content)
    with pytest.raises(DatabaseError, match="the copy of the database"):
        database.check(str(tmp_path / "copy"))


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that write down how they are called, and print what the file `answer` says."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("psql", "pg_dump", "pg_restore"):
        (folder / name).write_text(
            f'#!/bin/sh\necho "{name} $* as $PGUSER" >> {folder}/calls\n[ -f {folder}/answer ] && cat {folder}/answer\n'
            f"[ -f {folder}/error ] && cat {folder}/error >&2 && exit 3\nexit 0\n"
        )
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def test_a_postgresql_without_tables_is_empty(programs: Path) -> None:
    assert Postgresql({"PGUSER": "mlflow"}).schema() == Schema(empty=True)
    assert "as mlflow" in (programs / "calls").read_text()


def test_a_postgresql_that_refuses_says_why(programs: Path) -> None:
    (programs / "error").write_text("FATAL: password authentication failed")
    with pytest.raises(DatabaseError, match="psql: FATAL: password authentication failed"):
        Postgresql({}).schema()


def test_a_host_without_the_client_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DatabaseError, match=r"the host has no psql.*mlflow_postgresql_client"):
        Postgresql({}).schema()


def test_a_postgresql_is_loaded_in_one_transaction(programs: Path, tmp_path: Path) -> None:
    Postgresql({"PGUSER": "mlflow"}).load(str(tmp_path / "copy"))
    restore, load = (programs / "calls").read_text().splitlines()
    assert restore.startswith("pg_restore --no-owner --no-privileges --file=")
    assert "--single-transaction --set=ON_ERROR_STOP=1" in load
    assert load.index("drop.sql") < load.index("load.sql")
