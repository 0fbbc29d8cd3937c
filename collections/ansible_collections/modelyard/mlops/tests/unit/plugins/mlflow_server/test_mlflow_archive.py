# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""An archive holds all of it, proves itself, and makes place for the next one."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_archive import (
    UPGRADE,
    ArchiveError,
    Archives,
    unpack,
)
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_database import Sqlite

from .databases import runs


@pytest.fixture
def archive(data: Path, database: Sqlite, archives: Archives) -> Path:
    name = archives.next_name()
    archives.write(name, database, str(data / "artifacts"))
    return Path(archives.folder) / name


def test_what_is_saved_comes_back(archive: Path, data: Path, database: Sqlite, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    manifest = unpack(str(archive), str(there), database, os.getuid())
    assert runs(there / "database") == ["first"]
    model = Path("artifacts/1/model/model.onnx")
    assert (there / model).read_bytes() == (data / model).read_bytes()
    assert (manifest.database, manifest.revision, manifest.artifacts) == ("sqlite", "old", True)
    assert sorted(manifest.files) == [str(model), "database"]


def test_an_archive_is_roots_alone_and_its_sum_is_beside_it(archive: Path) -> None:
    assert archive.stat().st_mode & 0o777 == 0o600
    subprocess.run(["sha256sum", "--check", f"{archive.name}.sha256"], cwd=archive.parent, check=True)
    assert sorted(path.name for path in archive.parent.iterdir()) == [archive.name, f"{archive.name}.sha256"]


def test_an_archive_without_artifacts_says_so(database: Sqlite, archives: Archives, tmp_path: Path) -> None:
    name = archives.next_name(UPGRADE)
    archives.write(name, database)
    there = tmp_path / "there"
    there.mkdir()
    assert not unpack(str(Path(archives.folder) / name), str(there), database, os.getuid()).artifacts
    assert sorted(path.name for path in there.iterdir()) == ["database"]


def test_the_oldest_goes_and_occasions_do_not_compete(database: Sqlite, archives: Archives) -> None:
    ordinary = [archives.next_name() for _unused in range(3)]
    upgrade = archives.next_name(UPGRADE)
    for name in (ordinary[0], upgrade, ordinary[1]):
        archives.write(name, database)
    assert archives.outdated(ordinary[2]) == [ordinary[0]]
    archives.write(ordinary[2], database)
    assert archives.names() == [ordinary[1], ordinary[2], upgrade]
    assert not (Path(archives.folder) / f"{ordinary[0]}.sha256").exists()


def test_the_latest_is_the_newest_that_somebody_asked_for(database: Sqlite, archives: Archives) -> None:
    asked, upgrade = archives.next_name(), archives.next_name(UPGRADE)
    for name in (asked, upgrade):
        archives.write(name, database)
    assert archives.find("latest").endswith(asked)
    assert archives.find(upgrade).endswith(upgrade)


def test_an_archive_that_is_not_there_is_answered_with_what_is(archive: Path, archives: Archives) -> None:
    with pytest.raises(ArchiveError, match=rf"no backup 'other' in .*There is: {archive.name}"):
        archives.find("other")


def test_no_archives_at_all(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"no backup 'latest'.*modelyard.mlops.backup makes one"):
        Archives(str(tmp_path / "none"), 7).find("latest")


def test_a_changed_archive_is_refused(archive: Path, database: Sqlite, tmp_path: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    with pytest.raises(ArchiveError, match="its SHA-256 is not the one in"):
        unpack(str(archive), str(tmp_path), database, os.getuid())


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_cut_archive_without_its_sum_is_refused(
    archive: Path, database: Sqlite, tmp_path: Path, share: float
) -> None:
    Path(f"{archive}.sha256").unlink()
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * share)])
    with pytest.raises(ArchiveError, match="cannot be restored"):
        unpack(str(archive), str(tmp_path), database, os.getuid())


def rewrite(archive: Path, name: str, content: bytes | None) -> None:
    """Write an archive anew, with another content of a member, or without it."""
    Path(f"{archive}.sha256").unlink()
    with tarfile.open(archive) as tar:
        members = {member.name: file.read() for member in tar if (file := tar.extractfile(member))}
    members = {**members, name: content} if content is not None else {n: c for n, c in members.items() if n != name}
    with tarfile.open(archive, "w:gz") as tar:
        for one, data in members.items():
            member = tarfile.TarInfo(one)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize("content", [b"another model", None])
def test_a_file_that_is_not_what_was_saved_is_named(
    archive: Path, database: Sqlite, tmp_path: Path, content: bytes | None
) -> None:
    rewrite(archive, "artifacts/1/model/model.onnx", content)
    with pytest.raises(ArchiveError, match=r"1 of its files are not what was saved: artifacts/1/model/model.onnx"):
        unpack(str(archive), str(tmp_path), database, os.getuid())


@pytest.mark.parametrize("name", ["../evil", "/evil", "artifacts/../../evil", "artifacts", "evil"])
def test_nothing_is_written_elsewhere(archive: Path, database: Sqlite, tmp_path: Path, name: str) -> None:
    rewrite(archive, name, b"evil")
    there = tmp_path / "there"
    there.mkdir()
    with pytest.raises(ArchiveError, match="which no backup does"):
        unpack(str(archive), str(there), database, os.getuid())
    assert list(tmp_path.rglob("evil")) == []


def test_an_archive_of_another_kind_of_database_is_refused(archive: Path, database: Sqlite, tmp_path: Path) -> None:
    database.kind = "postgresql"
    with pytest.raises(ArchiveError, match="it is of sqlite, and the server has postgresql"):
        unpack(str(archive), str(tmp_path), database, os.getuid())


def test_half_an_archive_is_never_there(database: Sqlite, archives: Archives, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(database, "snapshot", full)
    with pytest.raises(ArchiveError, match=r"cannot be written.*No space left"):
        archives.write(archives.next_name(), database)
    assert os.listdir(archives.folder) == []
