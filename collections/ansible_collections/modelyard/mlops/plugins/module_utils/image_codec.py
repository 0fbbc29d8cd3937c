# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Compression that needs no package on either side.

The C library of zstd is part of practically every system that runs containers (apt, rpm and systemd
are linked with it), while Python has no module for it before 3.14. So the library is called directly.
A system without it uses zlib.
"""

from __future__ import annotations

import threading
import typing as t
import zlib

try:
    import ctypes
except ImportError:  # Debian's python3-minimal
    ctypes = None  # type: ignore[assignment]

ZSTD = "zstd"
ZLIB = "zlib"

# Of layers of Python packages, level 2 makes 6 % more bytes than level 3 in 70 % of the time. With a fast link a first
# transfer takes as long as its compression, and with a slow one 6 % longer.
_FAST = 2
_HIGHEST = 19

_LIBRARIES = ("libzstd.so.1", "libzstd.1.dylib", "/opt/homebrew/lib/libzstd.1.dylib")


class CodecError(Exception):
    """The bytes cannot be decompressed to what they should be."""


def _load_library() -> t.Any:
    if ctypes is None:
        return None
    for name in _LIBRARIES:
        try:
            found = ctypes.CDLL(name)
        except OSError:
            continue
        size, pointer = ctypes.c_size_t, ctypes.c_void_p
        for function, arguments in {
            "ZSTD_compressBound": [size],
            "ZSTD_compress": [pointer, size, ctypes.c_char_p, size, ctypes.c_int],
            "ZSTD_decompress": [pointer, size, ctypes.c_char_p, size],
        }.items():
            getattr(found, function).argtypes = arguments
            getattr(found, function).restype = size
        found.ZSTD_isError.argtypes = [size]
        found.ZSTD_createDStream.restype = pointer
        found.ZSTD_freeDStream.argtypes = [pointer]
        found.ZSTD_decompressStream.argtypes = [pointer, pointer, pointer]
        found.ZSTD_decompressStream.restype = size
        return found
    return None


_library = _load_library()
_memory = threading.local()


def _buffer(size: int) -> t.Any:
    """Memory of this thread, which its next call uses again: to get fresh pages costs as much as to fill them."""
    if len(getattr(_memory, "buffer", b"")) < size:
        _memory.buffer = ctypes.create_string_buffer(size)
    return getattr(_memory, "buffer", b"")


def library() -> t.Any:
    """The C library of zstd, or None."""
    return _library


def available() -> list[str]:
    """The codecs of this system, the best first."""
    return [ZLIB] if _library is None else [ZSTD, ZLIB]


def compress(codec: str, content: bytes, small: bool) -> bytes:
    """Compress `content`; what is `small` is worth the highest level, since that takes no time then."""
    if codec == ZLIB:
        return zlib.compress(content, 9 if small else 6)
    space = _library.ZSTD_compressBound(len(content))
    target = _buffer(space)
    written = _library.ZSTD_compress(target, space, content, len(content), _HIGHEST if small else _FAST)
    if _library.ZSTD_isError(written):
        raise CodecError(f"zstd does not compress {len(content)} bytes")
    return ctypes.string_at(target, written)


def decompress(codec: str, packed: bytes, size: int) -> bytes:
    """Undo `compress`.

    :param size: the bytes that must come out.
    :raises CodecError: they do not.
    """
    if codec == ZLIB:
        inflate = zlib.decompressobj()
        try:
            content = inflate.decompress(packed, size + 1)
        except zlib.error as error:
            raise CodecError(str(error)) from error
        if not inflate.eof:
            raise CodecError("zlib misses the end")
    elif _library is None:
        raise CodecError("this system has no zstd library")
    else:
        target = _buffer(size)
        written = _library.ZSTD_decompress(target, size, packed, len(packed))
        if _library.ZSTD_isError(written):
            raise CodecError("zstd finds the bytes damaged")
        content = ctypes.string_at(target, written)
    if len(content) != size:
        raise CodecError(f"{len(content)} bytes instead of {size}")
    return content
