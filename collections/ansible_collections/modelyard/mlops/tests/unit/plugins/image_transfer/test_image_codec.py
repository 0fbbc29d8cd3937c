# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""image_codec: what cannot be decompressed is told, and never taken for something shorter."""

from __future__ import annotations

import zlib

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils import image_codec
from ansible_collections.modelyard.mlops.plugins.module_utils.image_codec import ZLIB, ZSTD, CodecError

CONTENT = b"layer" * 100


def test_each_codec_brings_back_what_it_took() -> None:
    for codec in image_codec.available():
        for small in (False, True):
            packed = image_codec.compress(codec, CONTENT, small)
            assert image_codec.decompress(codec, packed, len(CONTENT)) == CONTENT


@pytest.mark.parametrize(
    ("codec", "packed", "problem"),
    [
        (ZLIB, b"no zlib at all", "header"),
        (ZLIB, zlib.compress(CONTENT)[:-3], "misses the end"),
        (ZLIB, zlib.compress(CONTENT[:-1]), "499 bytes instead of 500"),
        (ZLIB, zlib.compress(CONTENT + b"more than was said"), "misses the end"),
        (ZSTD, b"no zstd at all", "damaged"),
    ],
)
def test_damaged_bytes_are_an_error(codec: str, packed: bytes, problem: str) -> None:
    if codec not in image_codec.available():
        pytest.skip("this system has no zstd library")
    with pytest.raises(CodecError, match=problem):
        image_codec.decompress(codec, packed, len(CONTENT))


@pytest.mark.parametrize("missing", ["ctypes", "libraries"])
def test_system_without_zstd_uses_zlib_and_says_so(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing == "ctypes":
        monkeypatch.setattr(image_codec, "ctypes", None)
    else:
        monkeypatch.setattr(image_codec, "_LIBRARIES", ("libnothing-of-the-kind.so.1",))
    monkeypatch.setattr(image_codec, "_library", image_codec._load_library())
    assert image_codec.available() == [ZLIB]
    with pytest.raises(CodecError, match="no zstd library"):
        image_codec.decompress(ZSTD, b"", 1)
