# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Layers as they are before compression: the formats of images allow plain, gzip and zstd."""

from __future__ import annotations

import ctypes
import itertools
import typing as t
import zlib

from ansible_collections.modelyard.mlops.plugins.module_utils import image_codec

# What a few compressed bytes blow up to is handed on in pieces of this many bytes, whatever it is.
_PIECE = 1024 * 1024
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
# Zstd's skippable frames, which some tools begin a layer with.
_SKIPPABLE = tuple(bytes([0x50 + number]) + b"\x2a\x4d\x18" for number in range(16))


def plain(content: t.Iterator[bytes]) -> t.Iterator[bytes]:
    """Decompress what begins like gzip or zstd, and hand on what does not.

    :raises CodecError: it is damaged or cut off.
    """
    first = next(content, b"")
    whole = itertools.chain([first], content)
    if first.startswith(_GZIP):
        return _gunzip(whole)
    if first.startswith((_ZSTD, *_SKIPPABLE)):
        return _unzstd(whole)
    return whole


def _gunzip(content: t.Iterable[bytes]) -> t.Iterator[bytes]:
    # A layer may be several gzip members in a row; eStargz makes one for each file.
    inflate = None
    try:
        for piece in content:
            rest = piece
            while rest:
                inflate = inflate or zlib.decompressobj(wbits=31)
                yield inflate.decompress(rest, _PIECE)
                rest = inflate.unconsumed_tail
                if inflate.eof:
                    rest, inflate = inflate.unused_data.lstrip(b"\0"), None
        if inflate is not None:
            yield inflate.flush()
            if not inflate.eof:
                raise image_codec.CodecError("gzip misses the end")
    except zlib.error as error:
        raise image_codec.CodecError(f"gzip finds the bytes damaged: {error}") from error


class _Buffer(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer."""

    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("position", ctypes.c_size_t))


def _unzstd(content: t.Iterable[bytes]) -> t.Iterator[bytes]:
    library = image_codec.library()
    if library is None:
        raise image_codec.CodecError("it is compressed with zstd, and this system has no library for that")
    space = ctypes.create_string_buffer(_PIECE)
    stream = library.ZSTD_createDStream()
    # What the library still expects; 0 at the end of a frame.
    left = 0
    try:
        for piece in content:
            given = _Buffer(ctypes.cast(ctypes.c_char_p(piece), ctypes.c_void_p), len(piece), 0)
            full = False
            while given.position < given.size or full:
                taken = _Buffer(ctypes.cast(space, ctypes.c_void_p), _PIECE, 0)
                before = given.position
                left = library.ZSTD_decompressStream(stream, ctypes.byref(taken), ctypes.byref(given))
                if library.ZSTD_isError(left):
                    raise image_codec.CodecError("zstd finds the bytes damaged")
                if taken.position:
                    yield ctypes.string_at(space, taken.position)
                full = taken.position == _PIECE
                if given.position == before and not taken.position:
                    break
    finally:
        library.ZSTD_freeDStream(stream)
    if left:
        raise image_codec.CodecError("zstd misses the end")
