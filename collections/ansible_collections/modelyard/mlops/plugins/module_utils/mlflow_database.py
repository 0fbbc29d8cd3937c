# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""MLflow's database from the outside: the version of its schema, consistent copies of it, and the way back.

A *snapshot* is taken while the server runs. *Keeping* is for the time in which it does not run: whatever is there, even
a damaged database, is there again after `put_back`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
import typing as t

VERSION_TABLE = "alembic_version"


class DatabaseError(Exception):
    """The database cannot be read or written; the message says why."""


class Schema(t.NamedTuple):
    """What a database holds: nothing at all, or tables at a revision (empty when they do not say)."""

    empty: bool
    revision: str = ""


class Database(t.Protocol):
    """What both kinds of databases can do."""

    kind: str

    def schema(self) -> Schema:
        """The version of the schema.

        :raises DatabaseError: it cannot be read.
        """

    def snapshot(self, path: str) -> None:
        """Write a consistent copy to a file, also while the server writes."""

    def check(self, path: str) -> None:
        """Refuse a file that is no sound snapshot of this kind of database."""

    def load(self, path: str) -> None:
        """Put a snapshot in the place of what is there, which survives if that fails."""

    def keep(self, folder: str) -> None:
        """Keep what is there, sound or not, in a folder."""

    def put_back(self, folder: str) -> None:
        """Have there again what `keep` found. As often as one likes."""


class Sqlite:
    """A database in a file.

    :param owner: the number of the user and group that own the file.
    """

    kind = "sqlite"
    # The file, and what SQLite puts beside it.
    _PARTS = ("", "-journal", "-wal", "-shm")

    def __init__(self, path: str, owner: int) -> None:
        self._path, self._owner = path, owner

    def schema(self) -> Schema:
        """See Database."""
        if not os.path.exists(self._path):
            return Schema(empty=True)
        try:
            with contextlib.closing(_open(self._path)) as connection:
                return _schema(connection)
        except sqlite3.Error as error:
            raise DatabaseError(f"{self._path} cannot be read: {error}") from error

    def snapshot(self, path: str) -> None:
        """See Database."""
        try:
            with contextlib.closing(_open(self._path)) as source, contextlib.closing(sqlite3.connect(path)) as copy:
                source.backup(copy)
        except sqlite3.Error as error:
            raise DatabaseError(f"{self._path} cannot be copied: {error}") from error

    def check(self, path: str) -> None:
        """See Database."""
        try:
            with contextlib.closing(_open(path)) as connection:
                found = connection.execute("PRAGMA integrity_check").fetchone()[0]
                revision = _schema(connection).revision
        except sqlite3.Error as error:
            raise DatabaseError(f"the copy of the database cannot be read: {error}") from error
        if found != "ok":
            raise DatabaseError(f"the copy of the database is damaged: {found}")
        if not revision:
            raise DatabaseError(f"the copy of the database is not MLflow's: it has no {VERSION_TABLE}")

    def load(self, path: str) -> None:
        """See Database."""
        arriving = self._path + ".arriving"
        shutil.copyfile(path, arriving)
        os.chmod(arriving, 0o640)
        os.chown(arriving, self._owner, self._owner)
        # What is beside the file belongs to the one that goes, and would spoil the one that comes.
        self._remove(self._PARTS[1:])
        os.replace(arriving, self._path)

    def keep(self, folder: str) -> None:
        """See Database."""
        for part in self._PARTS:
            if os.path.exists(self._path + part):
                shutil.copyfile(self._path + part, os.path.join(folder, "database" + part))

    def put_back(self, folder: str) -> None:
        """See Database."""
        self._remove(self._PARTS)
        for part in self._PARTS:
            kept = os.path.join(folder, "database" + part)
            if os.path.exists(kept):
                shutil.copyfile(kept, self._path + part)
                os.chmod(self._path + part, 0o640)
                os.chown(self._path + part, self._owner, self._owner)

    def _remove(self, parts: t.Iterable[str]) -> None:
        for part in parts:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path + part)


# What MLflow has made, its triggers' functions included. Neither extensions nor what the user may do.
_DROP_ALL = """
DO $$
DECLARE
  one text;
  all_of_it text[] := ARRAY(
    SELECT format('TABLE %I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = current_schema()
  ) || ARRAY(
    SELECT 'ROUTINE ' || oid::regprocedure FROM pg_proc
    WHERE pronamespace = quote_ident(current_schema())::regnamespace
      AND oid NOT IN (SELECT objid FROM pg_depend WHERE classid = 'pg_proc'::regclass AND deptype = 'e')
  );
BEGIN
  FOREACH one IN ARRAY all_of_it LOOP EXECUTE 'DROP ' || one || ' CASCADE'; END LOOP;
END $$;
""".strip()
_PSQL = ("psql", "--no-password", "--no-psqlrc")


class Postgresql:
    """A database of a PostgreSQL server, reached with the server's own client programs.

    :param environment: libpq's variables, such as PGHOST and PGPASSFILE: a password is in no list of processes.
    """

    kind = "postgresql"

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    def schema(self) -> Schema:
        """See Database."""
        tables = self._ask("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()").split()
        if VERSION_TABLE not in tables:
            return Schema(empty=not tables)
        return Schema(empty=False, revision=self._ask(f"SELECT version_num FROM {VERSION_TABLE}").strip())

    def snapshot(self, path: str) -> None:
        """See Database."""
        self._run("pg_dump", "--no-password", "--format=custom", "--no-owner", "--no-privileges", f"--file={path}")

    def check(self, path: str) -> None:
        """See Database."""
        if VERSION_TABLE not in self._run("pg_restore", "--list", path):
            raise DatabaseError(f"the copy of the database is not MLflow's: it has no {VERSION_TABLE}")

    def load(self, path: str) -> None:
        """See Database: one transaction, so that all of it happens or nothing."""
        with tempfile.TemporaryDirectory(dir=os.path.dirname(path)) as folder:
            tables, script = os.path.join(folder, "drop.sql"), os.path.join(folder, "load.sql")
            with open(tables, "w", encoding="utf-8") as file:
                file.write(_DROP_ALL)
            self._run("pg_restore", "--no-owner", "--no-privileges", f"--file={script}", path)
            options = ("--single-transaction", "--set=ON_ERROR_STOP=1", "--quiet")
            self._run(*_PSQL, *options, f"--file={tables}", f"--file={script}")

    def keep(self, folder: str) -> None:
        """See Database."""
        self.snapshot(os.path.join(folder, "database"))

    def put_back(self, folder: str) -> None:
        """See Database."""
        self.load(os.path.join(folder, "database"))

    def _ask(self, question: str) -> str:
        return self._run(*_PSQL, "--tuples-only", "--no-align", f"--command={question}")

    def _run(self, *command: str) -> str:
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", **self._environment}
        try:
            done = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
        except FileNotFoundError as error:
            raise DatabaseError(
                f"the host has no {command[0]}, which comes with the package that mlflow_postgresql_client names"
            ) from error
        if done.returncode:
            raise DatabaseError(f"{command[0]}: {done.stderr.strip() or f'exit code {done.returncode}'}")
        return done.stdout


def _open(path: str) -> sqlite3.Connection:
    """Open a database that exists; its owner is not changed, and a cut-off transaction of a dead server rolled back."""
    return sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=30)


def _schema(connection: sqlite3.Connection) -> Schema:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if VERSION_TABLE not in tables:
        return Schema(empty=not tables)
    row = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()
    return Schema(empty=False, revision=row[0] if row else "")
