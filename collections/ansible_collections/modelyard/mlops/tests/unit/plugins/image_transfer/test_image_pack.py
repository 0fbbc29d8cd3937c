# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""image_pack and image_codec: chunks travel whole, and what is damaged is found."""

from __future__ import annotations

import hashlib
import io
import os
import time
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils import image_codec, image_pack
from ansible_collections.modelyard.mlops.plugins.module_utils.image_pack import CorruptChunk, Staging

KEY = "sha256:" + "1" * 64
OTHER = "sha256:" + "2" * 64
CONTENTS = [b"one" * 1000, b"two" * 2000, os.urandom(5000)]


def name(content: bytes, codec: str = image_codec.ZLIB) -> str:
    return hashlib.sha256(image_codec.compress(codec, content, True)).hexdigest()


def frame(content: bytes, codec: str = image_codec.ZLIB) -> bytes:
    packed = image_codec.compress(codec, content, True)
    return image_pack.header(name(content, codec), codec, len(content), len(packed)) + packed


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    staging = Staging(str(tmp_path / "images" / "staging"))
    staging.prepare(None)
    return staging


def put(staging: Staging, content: bytes, key: str = KEY) -> Path:
    path = Path(staging.path) / image_pack.pack_name(key)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("codec", image_codec.available())
@pytest.mark.parametrize("content", [b"", b"a", b"text " * 10_000, os.urandom(100_000)])
@pytest.mark.parametrize("small", [True, False])
def test_codec_gives_back_what_it_got(codec: str, content: bytes, small: bool) -> None:
    packed = image_codec.compress(codec, content, small)
    assert image_codec.decompress(codec, packed, len(content)) == content


@pytest.mark.parametrize("codec", image_codec.available())
def test_codec_refuses_another_size_and_garbage(codec: str) -> None:
    packed = image_codec.compress(codec, b"text" * 100, True)
    for wrong, size in [(packed, 399), (packed, 401), (packed[:-5], 400), (b"garbage", 7)]:
        with pytest.raises(image_codec.CodecError):
            image_codec.decompress(codec, wrong, size)


def test_folder_can_be_made_by_root_for_the_one_who_logs_in(staging: Staging) -> None:
    assert os.stat(staging.path).st_mode & 0o777 == 0o700
    staging.prepare(os.getuid())
    assert os.stat(staging.path).st_uid == os.getuid()


@pytest.mark.parametrize("codec", image_codec.available())
def test_chunks_of_all_packs_are_found_and_read(staging: Staging, codec: str) -> None:
    put(staging, frame(CONTENTS[0], codec) + frame(CONTENTS[1], codec))
    put(staging, frame(CONTENTS[2], codec), OTHER)
    names = [name(content, codec) for content in CONTENTS]
    assert staging.chunks() == set(names)
    assert list(staging.contents(names)) == CONTENTS
    assert list(staging.contents([])) == []


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_pack_that_was_cut_off_gives_what_arrived_whole(staging: Staging, cut: int) -> None:
    put(staging, (frame(CONTENTS[0]) + frame(CONTENTS[2]))[:-cut])
    assert staging.chunks() == {name(CONTENTS[0])}


def test_garbage_is_no_pack(staging: Staging) -> None:
    put(staging, os.urandom(1000))
    put(staging, b"")
    assert staging.chunks() == set()


def test_what_is_received_writes_to_nothing_that_is_there(staging: Staging, tmp_path: Path) -> None:
    pack = image_pack.pack_name(KEY)
    staging.receive(pack, io.BytesIO(frame(CONTENTS[0])))
    assert staging.chunks() == {name(CONTENTS[0])}
    (tmp_path / "victim").write_text("")
    other = image_pack.pack_name(KEY)
    (Path(staging.path) / other).symlink_to(tmp_path / "victim")
    for taken in (pack, other):
        with pytest.raises(FileExistsError):
            staging.receive(taken, io.BytesIO(b"x"))
    assert (tmp_path / "victim").read_text() == ""


@pytest.mark.parametrize("codec", image_codec.available())
def test_damaged_chunk_is_found_once_and_struck_out(staging: Staging, codec: str) -> None:
    good, bad = CONTENTS[0], CONTENTS[2]
    path = put(staging, frame(bad, codec) + frame(good, codec))
    content = bytearray(path.read_bytes())
    content[image_pack.HEADER_SIZE + 2500] ^= 1
    path.write_bytes(content)

    names = [name(content, codec) for content in (good, bad)]
    assert staging.chunks() == set(names)
    with pytest.raises(CorruptChunk):
        list(staging.contents(names))
    assert staging.chunks() == set(names[:1])
    assert staging.read(names[0]) == good


def test_clear_takes_the_image_and_what_was_forgotten(staging: Staging) -> None:
    put(staging, frame(CONTENTS[0]))
    other = put(staging, frame(CONTENTS[1]), OTHER)
    forgotten = put(staging, frame(CONTENTS[2]), "sha256:" + "3" * 64)
    os.utime(forgotten, (0, time.time() - 100))
    staging.clear(KEY, forgotten_after=50)
    assert os.listdir(staging.path) == [other.name]


def test_no_folder_is_an_empty_one(tmp_path: Path) -> None:
    staging = Staging(str(tmp_path / "none"))
    assert staging.chunks() == set()
    staging.clear(KEY, 1)


def test_two_controllers_never_write_one_file() -> None:
    assert image_pack.pack_name(KEY) != image_pack.pack_name(KEY)
