# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""How chunks travel and wait on a target.

A blob (a layer, or the configuration of an image) is cut into chunks, each compressed and named by the
digest of what came out. So a chunk is proven by a look at its few bytes; that the blob is the wanted one,
the engine proves. A pack is a file with one chunk after the other, each behind a small header.
A pack that was cut off still gives all chunks which arrived whole, so a transfer resumes at the chunk
where it stopped, and few files have to be sent.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import hashlib
import os
import struct
import time
import typing as t

from . import image_codec
from .image_records import Records

CHUNK_SIZE = 4 * 1024 * 1024

# magic, digest, codec, bytes uncompressed, bytes that follow
_HEADER = struct.Struct(">4s32sBII")
_MAGIC = b"MYC1"
_VOID = 0
_CODECS = {1: image_codec.ZLIB, 2: image_codec.ZSTD}
_CODES = {name: code for code, name in _CODECS.items()}
_SUFFIX = ".pack"
# Chunks in memory beside the one that the engine reads.
_AHEAD = 2
_PIECE = 64 * 1024

HEADER_SIZE = _HEADER.size


class CorruptChunk(Exception):
    """A chunk is not what its name says."""

    def __init__(self, chunk: str, reason: str) -> None:
        super().__init__(f"chunk {chunk[:12]} is damaged: {reason}")
        self.chunk = chunk


def header(chunk: str, codec: str, size: int, packed: int) -> bytes:
    """What stands before a chunk's `packed` bytes in a pack."""
    return _HEADER.pack(_MAGIC, bytes.fromhex(chunk), _CODES[codec], size, packed)


def prove(chunk: str, packed: bytes) -> None:
    """Compare the bytes of a chunk with its name.

    :raises CorruptChunk: they are others.
    """
    if hashlib.sha256(packed).hexdigest() != chunk:
        raise CorruptChunk(chunk, "its digest is another one")


def unpack(chunk: str, codec: str, packed: bytes, size: int) -> bytes:
    """The content of a chunk, proven by its name.

    :raises CorruptChunk: it is not that content.
    """
    prove(chunk, packed)
    try:
        return image_codec.decompress(codec, packed, size)
    except image_codec.CodecError as error:
        raise CorruptChunk(chunk, str(error)) from error


class _Frame(t.NamedTuple):
    path: str
    offset: int
    codec: str
    size: int
    packed: int


class Staging:
    """The folder on a target in which packs wait until their image is loaded.

    It belongs to the user who logs in, so that a connection without privileges can put files there. What only
    root may write, the lock and the records of images, lies next to it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._home = os.path.dirname(path)
        self.records = Records(os.path.join(self._home, "images.json"))
        self._frames: dict[str, _Frame] = {}

    def prepare(self, owner: int | None) -> None:
        """Make the folder; `owner` is the user ID that will put the packs."""
        os.makedirs(self._home, mode=0o755, exist_ok=True)
        if not os.path.isdir(self.path):
            os.mkdir(self.path, 0o700)
        if owner is not None and os.stat(self.path).st_uid != owner:
            os.chown(self.path, owner, -1)

    @contextlib.contextmanager
    def locked(self) -> t.Iterator[None]:
        """Hold this while an image is loaded."""
        os.makedirs(self._home, mode=0o755, exist_ok=True)
        with open(os.path.join(self._home, "lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def chunks(self) -> set[str]:
        """Look through all packs and name the chunks that are here whole."""
        self._frames = {}
        for path in self._packs():
            for chunk, frame in _scan(path):
                self._frames[chunk] = frame
        return set(self._frames)

    def receive(self, name: str, stream: t.IO[bytes]) -> None:
        """Write what `stream` has to its end as the pack `name`.

        The folder belongs to someone who has fewer rights, so nothing that is there already is written to.
        """
        with open(os.path.join(self.path, name), "xb") as pack:
            while piece := stream.read(_PIECE):
                pack.write(piece)

    def read(self, chunk: str) -> bytes:
        """The content of a chunk that `chunks` named, proven; a damaged one is struck out of its pack."""
        frame = self._frames[chunk]
        with open(frame.path, "rb") as pack:
            pack.seek(frame.offset)
            packed = pack.read(frame.packed)
        try:
            return unpack(chunk, frame.codec, packed, frame.size)
        except CorruptChunk:
            with open(frame.path, "r+b") as pack:
                pack.seek(frame.offset - HEADER_SIZE)
                pack.write(_HEADER.pack(_MAGIC, bytes(32), _VOID, frame.size, frame.packed))
            raise

    def contents(self, chunks: t.Sequence[str]) -> t.Iterator[bytes]:
        """The contents of `chunks` one after the other, unpacked ahead while the former ones are used."""
        # Who only looks has no use for it, and its import takes a tenth of a look.
        import concurrent.futures

        with concurrent.futures.ThreadPoolExecutor(_AHEAD) as workers:
            pending = collections.deque(workers.submit(self.read, chunk) for chunk in chunks[:_AHEAD])
            for position in range(len(chunks)):
                if position + _AHEAD < len(chunks):
                    pending.append(workers.submit(self.read, chunks[position + _AHEAD]))
                yield pending.popleft().result()

    def strike_damaged(self, chunks: t.Iterable[str]) -> list[str]:
        """Read `chunks` and return those that are damaged; they are struck out then."""
        return [chunk for chunk in chunks if not self._is_whole(chunk)]

    def clear(self, key: str, forgotten_after: float) -> None:
        """Delete the packs of the image `key`, and what nobody has come back for in `forgotten_after` seconds."""
        limit = time.time() - forgotten_after
        for path in self._packs():
            if os.path.basename(path).startswith(_prefix(key)) or os.stat(path).st_mtime < limit:
                os.unlink(path)

    def _is_whole(self, chunk: str) -> bool:
        try:
            self.read(chunk)
        except CorruptChunk:
            return False
        return True

    def _packs(self) -> list[str]:
        try:
            return sorted(entry.path for entry in os.scandir(self.path) if entry.name.endswith(_SUFFIX))
        except FileNotFoundError:
            return []


def pack_name(key: str) -> str:
    """A new name for a pack of the image `key`. Two controllers which send the same image never write one file."""
    return f"{_prefix(key)}{os.urandom(8).hex()}{_SUFFIX}"


def _prefix(key: str) -> str:
    return key.split(":", 1)[-1][:16] + "-"


def _scan(path: str) -> t.Iterator[tuple[str, _Frame]]:
    length = os.stat(path).st_size
    with open(path, "rb") as pack:
        while True:
            raw = pack.read(HEADER_SIZE)
            if len(raw) < HEADER_SIZE:
                return
            magic, name, code, size, packed = _HEADER.unpack(raw)
            offset = pack.tell()
            if magic != _MAGIC or offset + packed > length:
                return
            if code in _CODECS:
                yield name.hex(), _Frame(path, offset, _CODECS[code], size, packed)
            pack.seek(packed, os.SEEK_CUR)
