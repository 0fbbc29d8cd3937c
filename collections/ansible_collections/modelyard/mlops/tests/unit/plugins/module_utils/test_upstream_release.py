# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""upstream_release: archives made by the test, unpacked into real folders."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.upstream_release import Release, ReleaseError, unpack, use


def archive(name: str = "product-1.0/bin/run", kind: bytes = tarfile.REGTYPE) -> bytes:
    """A release archive with one program and one text."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path, mode in ((name, 0o775), ("product-1.0/LICENSE", 0o664)):
            member = tarfile.TarInfo(path)
            member.mode, member.size, member.type = mode, 5, kind if path == name else tarfile.REGTYPE
            tar.addfile(member, io.BytesIO(b"hello"))
    return buffer.getvalue()


def release(folder: Path, content: bytes, version: str = "1.0") -> Release:
    return Release(str(folder), version, hashlib.sha256(content).hexdigest())


def test_unpack_and_use(tmp_path: Path) -> None:
    content = archive()
    wanted = release(tmp_path / "product", content)
    assert not wanted.installed()
    assert wanted.current() == ""
    unpack(wanted, io.BytesIO(content))
    use(wanted)
    assert wanted.installed()
    assert wanted.current() == "1.0"
    program = tmp_path / "product" / "current" / "bin" / "run"
    assert program.stat().st_mode & 0o777 == 0o755
    assert sorted(path.name for path in (tmp_path / "product").iterdir()) == ["1.0", "current"]


def test_the_version_before_is_kept_and_older_ones_go(tmp_path: Path) -> None:
    content = archive()
    for version in ("1.0", "1.1", "1.2"):
        unpack(release(tmp_path, content, version), io.BytesIO(content))
        use(release(tmp_path, content, version))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.1", "1.2", "current"]


def test_another_sum_is_another_archive(tmp_path: Path) -> None:
    content = archive()
    unpack(release(tmp_path, content), io.BytesIO(content))
    assert not Release(str(tmp_path), "1.0", "0" * 64).installed()


def test_a_wrong_sum_unpacks_nothing(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="nothing was unpacked"):
        unpack(Release(str(tmp_path), "1.0", "0" * 64), io.BytesIO(archive()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [archive(name="product-1.0/../../evil"), archive(kind=tarfile.SYMTYPE), archive(kind=tarfile.CHRTYPE)]
)
def test_an_archive_with_anything_but_plain_files_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ReleaseError, match="no plain file"):
        unpack(release(tmp_path, content), io.BytesIO(content))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", ["latest", "", "../1.0", "1"])
def test_only_exact_versions(version: str) -> None:
    with pytest.raises(ReleaseError, match="version"):
        Release("/opt", version, "0" * 64).check()


def test_only_sums() -> None:
    with pytest.raises(ReleaseError, match="sha256"):
        Release("/opt", "1.0", "sha256sums.txt").check()
