# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""image_cache: content comes back as it went in, once, and leaves by age and size."""

from __future__ import annotations

import concurrent.futures
import itertools
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils import image_pack
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_cache import Cache, CachedBlob, WrongContent
from ansible_collections.modelyard.mlops.tests.unit.plugins.image_transfer.fakes import digest

CHUNK = image_pack.CHUNK_SIZE


def content_of(cache: Cache, blob: CachedBlob) -> bytes:
    return b"".join(image_pack.unpack(c.id, c.codec, cache.read(c), c.size) for c in blob.chunks)


def files(cache: Cache, folder: str) -> list[Path]:
    return [path for path in (cache.root / folder).rglob("*") if path.is_file()]


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_content_comes_back(cache: Cache, size: int) -> None:
    content = os.urandom(1000) * (size // 1000 + 1)
    content = content[:size]
    pieces = [content[start : start + 700_001] for start in range(0, size, 700_001)]
    blob = cache.add(pieces, digest(content))
    assert (blob.digest, blob.size) == (digest(content), size)
    assert len(blob.chunks) == -(-size // CHUNK)
    assert content_of(cache, blob) == content
    assert cache.blob(blob.digest) == blob


def test_same_chunks_are_stored_once(cache: Cache) -> None:
    base = os.urandom(CHUNK)
    first = cache.add([base, b"one"])
    second = cache.add([base, b"two"])
    assert first.chunks[0] == second.chunks[0]
    assert len(files(cache, "chunks")) == 3


def test_wrong_content_is_no_blob(cache: Cache) -> None:
    with pytest.raises(WrongContent):
        cache.add([b"text"], digest(b"other"))
    assert cache.blob(digest(b"text")) is None
    assert cache.blob(digest(b"other")) is None


@pytest.mark.parametrize("damage", ["missing", "short", "record"])
def test_incomplete_blob_is_not_there_and_can_be_added_again(cache: Cache, damage: str) -> None:
    content = os.urandom(1000)
    cache.add([content])
    (chunk,) = files(cache, "chunks")
    if damage == "missing":
        chunk.unlink()
    elif damage == "short":
        chunk.write_bytes(chunk.read_bytes()[:-1])
    else:
        files(cache, "blobs")[0].write_text("{", encoding="utf-8")
    assert cache.blob(digest(content)) is None


def test_damaged_chunk_is_dropped_and_comes_back_right(cache: Cache) -> None:
    content = os.urandom(1000)
    blob = cache.add([content])
    (chunk,) = files(cache, "chunks")
    bytes_ = bytearray(chunk.read_bytes())
    bytes_[500] ^= 1
    chunk.write_bytes(bytes_)
    with pytest.raises(image_pack.CorruptChunk):
        cache.read(blob.chunks[0])
    assert cache.blob(blob.digest) is None
    assert content_of(cache, cache.add([content])) == content


def test_all_that_is_damaged_is_dropped_at_once(cache: Cache) -> None:
    blobs = [cache.add([os.urandom(1000)]) for _time in range(4)]
    gone, *damaged, whole = ((chunk, cache.read(chunk)) for blob in blobs for chunk in blob.chunks)
    for path in files(cache, "chunks"):
        if path.stem == gone[0].id:
            path.unlink()
        if path.stem in {chunk.id for chunk, _content in damaged}:
            path.write_bytes(path.read_bytes()[::-1])
    cache.discard_damaged([blob.digest for blob in blobs])
    assert [cache.blob(blob.digest) is None for blob in blobs] == [True, True, True, False]
    assert cache.read(whole[0]) == whole[1]


def test_sweep_drops_what_is_old(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10**9, max_age=100)
    old, new = cache.add([b"shared", b"old" * 100]), cache.add([b"new" * 100])
    cache.remember("sha256:" + "a" * 64, "sha256:" + "b" * 64)
    for path in (*files(cache, "names"), *(p for p in files(cache, "blobs") if p.stem in old.digest)):
        os.utime(path, (0, time.time() - 200))
    cache.sweep()
    assert cache.blob(old.digest) is None
    assert cache.blob(new.digest) == new
    assert len(files(cache, "chunks")) == 1
    assert cache.recall("sha256:" + "a" * 64) is None


def test_sweep_keeps_what_was_used_last_within_the_bound(tmp_path: Path) -> None:
    cache = Cache(tmp_path, max_bytes=2500, max_age=1000)
    blobs = [cache.add([os.urandom(1000)]) for _unused in range(3)]
    for age, blob in zip((10, 30, 20), blobs, strict=True):
        os.utime(tmp_path / "blobs" / f"{blob.digest[7:]}.json", (0, time.time() - age))
    cache.sweep()
    assert [cache.blob(blob.digest) is not None for blob in blobs] == [True, False, True]
    assert len(files(cache, "chunks")) == 2


def test_use_makes_a_blob_young(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10**9, max_age=100)
    blob = cache.add([b"text"])
    os.utime(files(cache, "blobs")[0], (0, time.time() - 200))
    assert cache.blob(blob.digest)
    cache.sweep()
    assert cache.blob(blob.digest)


def test_nothing_is_swept_while_it_is_used(tmp_path: Path) -> None:
    cache = Cache(tmp_path, max_bytes=0, max_age=0)
    blob = cache.add([b"text"])
    with cache.in_use(), cache.in_use():
        Cache(tmp_path, max_bytes=0, max_age=0).sweep()
        assert cache.blob(blob.digest)
    cache.sweep()
    assert cache.blob(blob.digest) is None


def _add(root: Path, number: int) -> str:
    cache = Cache(root, 10**9, 1000)
    with cache.in_use(), cache.exporting("sha256:" + "a" * 64):
        started = time.monotonic_ns()
        cache.add([b"same" * 100_000, str(number % 2).encode()])
        return f"{started} {time.monotonic_ns()}"


def test_parallel_runs_export_one_after_the_other(tmp_path: Path) -> None:
    with concurrent.futures.ProcessPoolExecutor(4, multiprocessing.get_context("fork")) as pool:
        spans = sorted(tuple(map(int, span.split())) for span in pool.map(_add, [tmp_path] * 8, range(8)))
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))
    assert len(files(Cache(tmp_path, 10**9, 1000), "blobs")) == 2
    assert files(Cache(tmp_path, 10**9, 1000), "new") == []
