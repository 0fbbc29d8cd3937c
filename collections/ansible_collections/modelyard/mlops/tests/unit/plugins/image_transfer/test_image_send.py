# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""image_send: packs as large as the link is fast, and a person sees how far it is."""

from __future__ import annotations

import io
import os
import re
import shutil
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.image_pack import Staging
from ansible_collections.modelyard.mlops.plugins.plugin_utils import image_send
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_cache import Cache
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_send import Sender

KEY = "sha256:" + "1" * 64


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    staging = Staging(str(tmp_path / "host" / "staging"))
    staging.prepare(None)
    return staging


def sender(cache: Cache, staging: Staging, shown: list[str], total: int) -> Sender:
    def put(local: str, name: str) -> None:
        shutil.copyfile(local, Path(staging.path) / name)

    return Sender(cache, KEY, put, shown.append, total)


def keep(staging: Staging, pack: tuple[str, bytes]) -> None:
    """Do with the last pack as the host does."""
    staging.receive(pack[0], io.BytesIO(pack[1]))


def test_progress_is_shown_for_each_pack(cache: Cache, staging: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_send, "_SMALLEST", 1000)
    monkeypatch.setattr(image_send, "_LARGEST", 1000)
    content = os.urandom(1500)
    blobs = [cache.add([content[number:]]) for number in range(3)]
    shown: list[str] = []
    one = sender(cache, staging, shown, 2 * sum(blob.size for blob in blobs))
    one.send((chunk for blob in blobs for chunk in blob.chunks), [], ["zstd", "zlib"])
    assert len(shown) == len(os.listdir(staging.path)) == 3
    assert re.fullmatch(r"1\.6 kB of 9\.\d kB, [\d.]+ \SB/s, \d+ s left", shown[0])
    assert one.sent == sum(path.stat().st_size for path in Path(staging.path).iterdir())
    assert staging.chunks() == {chunk.id for blob in blobs for chunk in blob.chunks}


def test_what_is_there_is_not_sent_and_the_end_is_the_end(cache: Cache, staging: Staging) -> None:
    blobs = [cache.add([os.urandom(1500)]) for _unused in range(2)]
    shown: list[str] = []
    one = sender(cache, staging, shown, 3000)
    rest = one.send((chunk for blob in blobs for chunk in blob.chunks), [blobs[0].chunks[0].id], ["zstd", "zlib"])
    keep(staging, rest)
    assert staging.chunks() == {blobs[1].chunks[0].id}
    assert shown == ["1.6 kB of 1.6 kB, the end of it with the load"]


def test_host_without_zstd_gets_another_chunk_of_the_same_content(cache: Cache, staging: Staging) -> None:
    content = b"text" * 1000
    (chunk,) = cache.add([content]).chunks
    one = sender(cache, staging, [], len(content))
    keep(staging, one.send(iter([chunk]), [], ["zlib"]))
    assert staging.chunks() == {one.names[chunk.id]}
    assert list(staging.contents([one.names[chunk.id]])) == [content]


@pytest.mark.parametrize(("size", "along"), [(0, False), (1500, True), (2500, False)])
def test_small_pack_goes_with_the_question(
    cache: Cache, staging: Staging, monkeypatch: pytest.MonkeyPatch, size: int, along: bool
) -> None:
    monkeypatch.setattr(image_send, "_ALONG", 2000)
    shown: list[str] = []
    chunks = cache.add([os.urandom(size)]).chunks
    one = sender(cache, staging, shown, size)
    name, pack = one.send(iter(chunks), [], ["zstd", "zlib"])
    assert bool(name) == bool(pack) == along
    assert len(os.listdir(staging.path)) == (size > 0 and not along)
    assert one.sent == sum(path.stat().st_size for path in Path(staging.path).iterdir())
    if size > 2000:
        assert re.fullmatch(r"2\.6 kB of 2\.6 kB, [\d.]+ \SB/s", shown[-1])
