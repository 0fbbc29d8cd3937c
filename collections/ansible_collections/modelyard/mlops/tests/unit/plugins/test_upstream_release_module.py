# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""upstream_release's entry point: what it downloads, returns and refuses, with a server of the test's own."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.modelyard.mlops.plugins.modules import upstream_release
from ansible_collections.modelyard.mlops.tests.unit.plugins.running import run_module
from ansible_collections.modelyard.mlops.tests.unit.plugins.serving import serve


def archive() -> bytes:
    """A release archive with one program."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo("product-1.0/run")
        member.mode, member.size = 0o755, 5
        tar.addfile(member, io.BytesIO(b"hello"))
    return buffer.getvalue()


class Upstream:
    """A server with one archive, and who asked for what."""

    def __init__(self) -> None:
        self.content = archive()
        self.asked: list[str] = []
        self.url = ""

    def options(self, folder: Path, version: str) -> dict[str, Any]:
        sha256 = hashlib.sha256(self.content).hexdigest()
        return {"folder": str(folder), "version": version, "url": f"{self.url}/{version}.tar.gz", "sha256": sha256}


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    """It runs, and no proxy stands before it."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    upstream = Upstream()

    def answer(path: str) -> tuple[int, bytes]:
        upstream.asked.append(path)
        return 404 if "missing" in path else 200, upstream.content

    with serve(answer) as port:
        upstream.url = f"http://127.0.0.1:{port}"
        yield upstream


def run(options: dict[str, Any], **more: Any) -> dict[str, Any]:
    return run_module(upstream_release.main, {**options, **more})


def test_version_is_downloaded_once_and_used(upstream: Upstream, tmp_path: Path) -> None:
    said = run(upstream.options(tmp_path, "1.0"))
    assert (said["changed"], said["downloaded"], said["path"]) == (True, True, str(tmp_path / "1.0"))
    assert (said["diff"]["before"], said["diff"]["after"]) == ("", "1.0\n")
    assert (tmp_path / "current" / "run").read_text() == "hello"
    again = run(upstream.options(tmp_path, "1.0"))
    assert (again["changed"], again["downloaded"]) == (False, False)
    assert again["diff"]["before"] == again["diff"]["after"]
    assert upstream.asked == ["/1.0.tar.gz"]


def test_way_back_to_the_version_before_needs_no_download(upstream: Upstream, tmp_path: Path) -> None:
    for version in ("1.0", "1.1"):
        run(upstream.options(tmp_path, version))
    said = run(upstream.options(tmp_path, "1.0"))
    assert (said["changed"], said["downloaded"]) == (True, False)
    assert (said["diff"]["before"], said["diff"]["after"]) == ("1.1\n", "1.0\n")
    assert (tmp_path / "current").readlink() == Path("1.0")
    assert len(upstream.asked) == 2


def test_check_mode_downloads_and_changes_nothing(upstream: Upstream, tmp_path: Path) -> None:
    said = run(upstream.options(tmp_path / "product", "1.0"), _ansible_check_mode=True)
    assert (said["changed"], said["downloaded"], said["diff"]["after"]) == (True, True, "1.0\n")
    assert upstream.asked == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"version": "latest"}, "version: 'latest' is not an exact version"),
        ({"sha256": "sums.txt"}, "sha256: 'sums.txt' is not a sha256 sum"),
        ({"sha256": "0" * 64}, "nothing was unpacked"),
    ],
)
def test_bad_option_is_named_and_installs_nothing(
    options: dict[str, str], words: str, upstream: Upstream, tmp_path: Path
) -> None:
    said = run({**upstream.options(tmp_path, "1.0"), **options})
    assert said["failed"]
    assert words in said["msg"]
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_downloaded_or_read_is_said_with_its_address(upstream: Upstream, tmp_path: Path) -> None:
    options = upstream.options(tmp_path, "1.0")
    missing = f"{upstream.url}/missing.tar.gz"
    said = run(options, url=missing)
    assert said["failed"]
    assert said["msg"].startswith(f"{missing}: ")
    assert "404" in said["msg"]
    upstream.content = b"no archive"
    options = upstream.options(tmp_path, "1.0")
    said = run(options)
    assert said["failed"]
    assert said["msg"].startswith(f"{options['url']}: ")
    assert list(tmp_path.iterdir()) == []
