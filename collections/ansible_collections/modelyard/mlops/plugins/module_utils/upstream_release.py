# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Release archives on a host: one folder a version, and a link to the one in use."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

CURRENT = "current"


class ReleaseError(Exception):
    """Something the author of the task can mend. Its text is the whole message."""


@dataclass(frozen=True)
class Release:
    """One version of one product, and where it lives."""

    folder: str
    version: str
    sha256: str

    def check(self) -> None:
        """Refuse what does not name one exact archive."""
        if not re.fullmatch(r"\d+(\.\w+)+([-+.]\w+)*", self.version):
            raise ReleaseError(f"version: {self.version!r} is not an exact version such as 2.55.1")
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ReleaseError(f"sha256: {self.sha256!r} is not a sha256 sum, 64 hexadecimal digits")

    @property
    def path(self) -> str:
        """The folder of this version."""
        return os.path.join(self.folder, self.version)

    @property
    def link(self) -> str:
        """The link to the version in use."""
        return os.path.join(self.folder, CURRENT)

    def installed(self) -> bool:
        """Whether exactly this archive was unpacked here before."""
        try:
            with open(os.path.join(self.path, ".sha256"), encoding="ascii") as stream:
                return stream.read().strip() == self.sha256
        except FileNotFoundError:
            return False

    def current(self) -> str:
        """The version in use, or an empty string."""
        try:
            return os.readlink(self.link)
        except FileNotFoundError:
            return ""


def _save(source: IO[bytes], target: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while True:
        block = source.read(1 << 20)
        if not block:
            target.flush()
            return digest.hexdigest()
        digest.update(block)
        target.write(block)


def _members(archive: tarfile.TarFile, prefix: str) -> Iterator[tarfile.TarInfo]:
    """The plain files and folders of an archive, without their common first folder, and never outside it."""
    for member in archive:
        parts = member.name.split("/")[1:]
        if ".." in parts or not (member.isfile() or member.isdir()):
            raise ReleaseError(f"the archive holds {member.name!r}, which is no plain file below {prefix}")
        if parts:
            member.name = "/".join(parts)
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            yield member


@contextmanager
def _beside(path: str) -> Iterator[str]:
    """A folder that becomes the path by one rename when all went well."""
    folder = tempfile.mkdtemp(prefix=".new-", dir=os.path.dirname(path))
    try:
        os.chmod(folder, 0o755)
        yield folder
        shutil.rmtree(path, ignore_errors=True)
        os.rename(folder, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unpack(release: Release, source: IO[bytes]) -> None:
    """Read an archive to its end, check its sum, and only then unpack it."""
    os.makedirs(release.folder, mode=0o755, exist_ok=True)
    with tempfile.TemporaryFile(dir=release.folder) as download:
        found = _save(source, download)
        if found != release.sha256:
            raise ReleaseError(
                f"sha256: the archive of {release.version} has the sum {found}, not {release.sha256}; "
                "nothing was unpacked"
            )
        download.seek(0)
        with _beside(release.path) as folder, tarfile.open(fileobj=download, mode="r:*") as archive:
            # Python 3.12 warns of an archive without one, and 3.14 has one that leaves folders' modes to the umask.
            archive.extraction_filter = lambda member, _path: member
            for member in _members(archive, release.path):
                archive.extract(member, folder)
            with open(os.path.join(folder, ".sha256"), "w", encoding="ascii") as stream:
                stream.write(release.sha256 + "\n")


def use(release: Release) -> None:
    """Point the link to this version; keep the one before it, for the way back, and remove all others."""
    before = release.current()
    temporary = release.link + ".new"
    if os.path.lexists(temporary):
        os.unlink(temporary)
    os.symlink(release.version, temporary)
    os.replace(temporary, release.link)
    for name in os.listdir(release.folder):
        if name not in (CURRENT, release.version, before):
            shutil.rmtree(os.path.join(release.folder, name), ignore_errors=True)
