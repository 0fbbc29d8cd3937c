# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Backups of an MLflow server: archives that prove themselves, in one folder.

An archive is a compressed tar with the `database`, the files of `artifacts/` if the server keeps them in a folder, and
at its end `manifest.json` with the SHA-256 of every file. Beside it, `<archive>.sha256` is for `sha256sum --check`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
import time
import typing as t
from dataclasses import asdict, dataclass

from .mlflow_database import Database, DatabaseError

MANIFEST = "manifest.json"
DATABASE = "database"
ARTIFACTS = "artifacts"
UPGRADE = "before-upgrade"
RESTORE = "before-restore"

_NAME = re.compile(r"mlflow-\d{8}T\d{6}Z(?:-(?P<occasion>[a-z-]+))?\.tar\.gz")
_BLOCK = 1 << 20


class ArchiveError(Exception):
    """An archive cannot be written, found or trusted; the message names it and says why."""


@dataclass(frozen=True)
class Manifest:
    """What is in an archive.

    :ivar artifacts: whether the artifacts are in it; with S3, they are the bucket's.
    :ivar files: the SHA-256 by path.
    :ivar bytes: of all files, uncompressed.
    """

    database: str
    revision: str
    artifacts: bool
    created: str
    bytes: int
    files: dict[str, str]


class Archives:
    """The archives in a folder, which only root may read: they hold all that MLflow knows.

    :param keep: how many to keep of each occasion.
    """

    def __init__(self, folder: str, keep: int) -> None:
        self.folder, self._keep = folder, keep

    def names(self) -> list[str]:
        """All of them, the oldest first."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(name for name in os.listdir(self.folder) if _NAME.fullmatch(name))
        return []

    def next_name(self, occasion: str = "") -> str:
        """The name of an archive that is made now."""
        return f"mlflow-{now('%Y%m%dT%H%M%SZ')}{'-' + occasion if occasion else ''}.tar.gz"

    def outdated(self, new: str) -> list[str]:
        """What is one too many once the archive `new` is there."""
        alike = [name for name in self.names() if _occasion(name) == _occasion(new) and name != new]
        return [*alike, new][: -self._keep]

    def find(self, name: str) -> str:
        """The path of an archive by its name; `latest` is the newest that was not made by an upgrade or a restore.

        :raises ArchiveError: there is none.
        """
        names = self.names()
        ordinary = [one for one in names if not _occasion(one)]
        wanted = ordinary[-1] if name == "latest" and ordinary else name
        if wanted not in names:
            there = ", ".join(names) or "nothing; the playbook modelyard.mlops.backup makes one"
            raise ArchiveError(f"there is no backup '{name}' in {self.folder}. There is: {there}")
        return os.path.join(self.folder, wanted)

    def write(self, name: str, database: Database, artifacts: str = "") -> Manifest:
        """Make an archive, and delete what is one too many. Nobody sees half of it.

        The database comes first: a model is registered once its files are there, so what it names is in the archive.

        :param artifacts: their folder, empty to leave them out.
        """
        os.makedirs(self.folder, mode=0o711, exist_ok=True)
        path = os.path.join(self.folder, name)
        partial = path + ".partial"
        try:
            with open(partial, "wb", opener=_private) as file, tempfile.TemporaryDirectory(dir=self.folder) as scratch:
                manifest = _pack(file, database, artifacts, scratch)
                file.flush()
                os.fsync(file.fileno())
            with open(path + ".sha256", "w", encoding="utf-8", opener=_private) as file:
                file.write(f"{_sha256_of(partial)}  {name}\n")
            os.replace(partial, path)
        except (OSError, tarfile.TarError) as error:
            raise ArchiveError(f"the backup {path} cannot be written: {error}") from error
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial)
        for old in self.outdated(name):
            os.unlink(os.path.join(self.folder, old))
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.folder, old + ".sha256"))
        return manifest


def now(pattern: str) -> str:
    """The time in UTC."""
    return time.strftime(pattern, time.gmtime())


def unpack(path: str, folder: str, database: Database, owner: int) -> Manifest:
    """Unpack an archive into an empty folder, and check all of it.

    :param owner: the number of the user and group of the unpacked artifacts.
    :raises ArchiveError: it is not what was written once, or is of another kind of database.
    """
    try:
        _check_sum(path)
        manifest = _extract(path, folder, owner)
        if manifest.database != database.kind:
            raise ArchiveError(f"it is of {manifest.database}, and the server has {database.kind}")
        database.check(os.path.join(folder, DATABASE))
    except (OSError, EOFError, tarfile.TarError, ValueError, TypeError, DatabaseError, ArchiveError) as error:
        raise ArchiveError(f"the backup {path} cannot be restored: {error}") from error
    return manifest


def _pack(file: t.IO[bytes], database: Database, artifacts: str, scratch: str) -> Manifest:
    files: dict[str, str] = {}
    size = 0
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar:
        copy = os.path.join(scratch, DATABASE)
        revision = database.schema().revision
        database.snapshot(copy)
        for name, source in [(DATABASE, copy), *_artifacts(artifacts)]:
            # What is deleted while we read was nobody's any more.
            with contextlib.suppress(FileNotFoundError), open(source, "rb") as content:
                member = tar.gettarinfo(arcname=name, fileobj=content)
                reader = _Hashing(content)
                tar.addfile(member, reader)
                files[name] = reader.hexdigest()
                size += member.size
        created = now("%Y-%m-%dT%H:%M:%SZ")
        manifest = Manifest(database.kind, revision, bool(artifacts), created, size, files)
        text = json.dumps(asdict(manifest), indent=1).encode()
        member = tarfile.TarInfo(MANIFEST)
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    return manifest


def _artifacts(folder: str) -> t.Iterator[tuple[str, str]]:
    """The files of the artifacts: name in the archive, and path."""
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(parent, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield os.path.join(ARTIFACTS, os.path.relpath(path, folder)), path


def _extract(path: str, folder: str, owner: int) -> Manifest:
    """Write the files of an archive, each checked against the manifest at its end."""
    found: dict[str, str] = {}
    text = b""
    with tarfile.open(path, mode="r|gz") as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is None or not _safe(member.name):
                raise ArchiveError(f"it holds {member.name!r}, which no backup does")
            if member.name == MANIFEST:
                text = content.read()
            else:
                found[member.name] = _store(content, os.path.join(folder, member.name))
    if not text:
        raise ArchiveError(f"it is not complete: it has no {MANIFEST}")
    manifest = Manifest(**json.loads(text))
    damaged = sorted(name for name in {*found, *manifest.files} if found.get(name) != manifest.files.get(name))
    if damaged:
        raise ArchiveError(f"{len(damaged)} of its files are not what was saved: {', '.join(damaged[:5])}")
    if manifest.artifacts:
        top = os.path.join(folder, ARTIFACTS)
        os.makedirs(top, exist_ok=True)
        for parent, folders, files in os.walk(top):
            for name in (".", *folders, *files):
                os.chown(os.path.join(parent, name), owner, owner)
    return manifest


def _store(content: t.IO[bytes], path: str) -> str:
    os.makedirs(os.path.dirname(path), mode=0o750, exist_ok=True)
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for block in iter(lambda: content.read(_BLOCK), b""):
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def _safe(name: str) -> bool:
    parts = name.split("/")
    return name in (MANIFEST, DATABASE) or (
        parts[0] == ARTIFACTS and len(parts) > 1 and not {"", ".", ".."} & set(parts)
    )


def _check_sum(path: str) -> None:
    """Compare with the sum beside the archive; one that came without is checked by what is in it."""
    with contextlib.suppress(FileNotFoundError):
        with open(path + ".sha256", encoding="utf-8") as file:
            expected = file.read().split()[0]
        if _sha256_of(path) != expected:
            raise ArchiveError(f"its SHA-256 is not the one in {path}.sha256")


def _sha256_of(path: str) -> str:
    with open(path, "rb") as file:
        reader = _Hashing(file)
        while reader.read(_BLOCK):
            pass
        return reader.hexdigest()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _occasion(name: str) -> str:
    match = _NAME.fullmatch(name)
    return (match and match["occasion"]) or ""


class _Hashing(io.RawIOBase):
    """A file of which a digest is made as it is read."""

    def __init__(self, file: t.IO[bytes]) -> None:
        super().__init__()
        self._file, self._digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self._digest.update(block)
        return block

    def hexdigest(self) -> str:
        return self._digest.hexdigest()
