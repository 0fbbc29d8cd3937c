# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Changes of an MLflow server's data that can be taken back, by the same run or by the next one.

What is needed for that is in the folder `.pending` of the backups before anything changes, and its presence says that a
change is not settled. A file `proven` in it says that the server works with it, so that it stays.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import typing as t

from .mlflow_archive import ARTIFACTS, DATABASE, RESTORE, UPGRADE, Archives, Manifest, unpack
from .mlflow_database import Database, DatabaseError

_PROVEN = "proven"
_KIND = "kind"
# In the data folder, so that renaming is all that moves artifacts.
_ASIDE = ".aside"
_ARRIVING = ".arriving"


class ChangeError(Exception):
    """The data cannot be changed; the message says why and what to do."""


class Pending:
    """The change that is not settled yet, if there is one.

    :param folder: of the backups.
    :param data: the server's data folder.
    """

    def __init__(self, folder: str, database: Database, data: str) -> None:
        self._folder, self._database, self._data = os.path.join(folder, ".pending"), database, data

    @property
    def kind(self) -> str:
        """`first start`, `upgrade` or `restore`, empty when all is settled."""
        with contextlib.suppress(FileNotFoundError), open(os.path.join(self._folder, _KIND), encoding="utf-8") as file:
            return file.read()
        return ""

    @property
    def proven(self) -> bool:
        """Whether the server has worked with it."""
        return os.path.exists(os.path.join(self._folder, _PROVEN))

    def begin(self, kind: str) -> None:
        """Keep the database, then say that a change begins."""
        preparing = self._folder + ".new"
        for leftover in (preparing, os.path.join(self._data, _ASIDE)):
            shutil.rmtree(leftover, ignore_errors=True)
        os.makedirs(preparing, mode=0o700)
        self._database.keep(preparing)
        with open(os.path.join(preparing, _KIND), "w", encoding="utf-8") as file:
            file.write(kind)
        os.replace(preparing, self._folder)

    def take_back(self) -> None:
        """Have the data as it was when the change began."""
        if not self.kind:
            return
        self._database.put_back(self._folder)
        aside, artifacts = os.path.join(self._data, _ASIDE), os.path.join(self._data, ARTIFACTS)
        if os.path.isdir(aside):
            shutil.rmtree(artifacts, ignore_errors=True)
            os.rename(aside, artifacts)
        self.settle()

    def prove(self) -> None:
        """The server works with the change."""
        with contextlib.suppress(FileNotFoundError), open(os.path.join(self._folder, _PROVEN), "w", encoding="utf-8"):
            pass

    def settle(self) -> None:
        """Forget what the change would have been taken back with."""
        shutil.rmtree(self._folder + ".old", ignore_errors=True)
        # Renamed before it is deleted: half of it would be taken for a whole.
        with contextlib.suppress(FileNotFoundError):
            os.rename(self._folder, self._folder + ".old")
        for path in (self._folder + ".old", *(os.path.join(self._data, name) for name in (_ASIDE, _ARRIVING))):
            shutil.rmtree(path, ignore_errors=True)

    def exchange_artifacts(self, arriving: str) -> None:
        """Put a folder in the place of the artifacts, which are kept aside."""
        artifacts = os.path.join(self._data, ARTIFACTS)
        # Even where there was nothing, so that a folder aside always says that what is in place came later.
        os.makedirs(artifacts, mode=0o750, exist_ok=True)
        os.rename(artifacts, os.path.join(self._data, _ASIDE))
        os.rename(arriving, artifacts)


class _Change:
    """What every service.Change here has: it is pending until the server has worked with it."""

    def __init__(self, pending: Pending) -> None:
        self._pending = pending

    def take_back(self) -> None:
        """See Change."""
        self._pending.take_back()

    def prove(self) -> None:
        """See Change."""
        self._pending.prove()


class FirstStart(_Change):
    """The start on an empty database, which the server fills; what a failed one leaves goes again."""

    def apply(self) -> None:
        """See Change."""
        self._pending.begin("first start")


class Upgrade(_Change):
    """The upgrade of the schema, after a backup of the database.

    :param run: runs the new image's own upgrade.
    """

    def __init__(self, pending: Pending, archives: Archives, database: Database, run: t.Callable[[], None]) -> None:
        super().__init__(pending)
        self._archives, self._database, self._run = archives, database, run
        self.backup = ""

    def apply(self) -> None:
        """See Change."""
        name = self._archives.next_name(UPGRADE)
        self._archives.write(name, self._database)
        self.backup = os.path.join(self._archives.folder, name)
        self._pending.begin("upgrade")
        self._run()


class Restore(_Change):
    """What an archive holds, once it is unpacked, in the place of what is there.

    :param owner: the number of the user and group that own the data.
    :param upgrade: upgrades the schema; None when it is as the server's image wants it.
    """

    def __init__(self, pending: Pending, archives: Archives, database: Database, data: str, owner: int) -> None:
        super().__init__(pending)
        self._archives, self._database = archives, database
        self._data, self._owner = data, owner
        self._arriving = os.path.join(data, _ARRIVING)
        self.upgrade: t.Callable[[], None] | None = None
        self.former = ""

    def unpack(self, path: str) -> Manifest:
        """Unpack and check an archive beside the data. Nothing of the data is touched."""
        if not os.path.isdir(self._data):
            os.makedirs(self._data, mode=0o750)
            os.chown(self._data, self._owner, self._owner)
        self.discard()
        os.mkdir(self._arriving, mode=0o700)
        try:
            return unpack(path, self._arriving, self._database, self._owner)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Forget what was unpacked."""
        shutil.rmtree(self._arriving, ignore_errors=True)

    def apply(self) -> None:
        """See Change. The database that is there is saved before, if it can be read; `former` is the backup's path."""
        # One that cannot be read may be why somebody restores.
        with contextlib.suppress(DatabaseError):
            if not self._database.schema().empty:
                name = self._archives.next_name(RESTORE)
                self._archives.write(name, self._database)
                self.former = os.path.join(self._archives.folder, name)
        self._pending.begin("restore")
        self._database.load(os.path.join(self._arriving, DATABASE))
        artifacts = os.path.join(self._arriving, ARTIFACTS)
        if os.path.isdir(artifacts):
            self._pending.exchange_artifacts(artifacts)
        if self.upgrade:
            self.upgrade()

    def take_back(self) -> None:
        """See Change."""
        super().take_back()
        self.discard()


@contextlib.contextmanager
def locked(folder: str) -> t.Iterator[None]:
    """Be the only one who changes or saves the data.

    :raises ChangeError: somebody else does.
    """
    os.makedirs(folder, mode=0o711, exist_ok=True)
    with open(os.path.join(folder, ".lock"), "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ChangeError(f"another run works on this server's data ({folder}/.lock): wait for its end") from error
        yield
