# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The controller's store of compressed chunks, shared by all images, hosts and runs.

    blobs/<digest>.json              size and chunks of a layer or a configuration
    chunks/<first two>/<digest>.<codec>
    names/<digest>                   the key of the image that an engine calls by another digest
    locks/                           one file per image that is being exported; `use`: see below

Everything is named by its content and appears by a rename, so parallel runs need no agreement. Only
removal does: whoever uses the cache holds `locks/use` shared, and a sweep takes it alone or not at all.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import fcntl
import hashlib
import json
import os
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.modelyard.mlops.plugins.module_utils import image_codec, image_pack

_WORKERS = min(4, os.cpu_count() or 1)
# Up to here the highest level of compression takes no time that anybody notices.
_SMALL = 1024 * 1024


class WrongContent(Exception):
    """A stream was not the content that it was asked for."""


@dataclass(frozen=True)
class Chunk:
    """A chunk in the cache: the digest of its packed bytes, the size of its content, and how it is packed."""

    id: str
    size: int
    codec: str
    packed: int


@dataclass(frozen=True)
class CachedBlob:
    """A layer or a configuration in the cache."""

    digest: str
    size: int
    chunks: tuple[Chunk, ...]

    @property
    def packed(self) -> int:
        """Its bytes as they are compressed here."""
        return sum(chunk.packed for chunk in self.chunks)


class Cache:
    """A cache folder.

    :param max_bytes: what the chunks may take before the blobs that were not used for longest are dropped.
    :param max_age: seconds after which an unused blob is dropped anyway.
    """

    def __init__(self, root: Path, max_bytes: int, max_age: float) -> None:
        self.root = root
        self._max_bytes = max_bytes
        self._max_age = max_age
        for folder in ("blobs", "chunks", "locks", "names", "new"):
            (root / folder).mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextlib.contextmanager
    def in_use(self) -> t.Iterator[None]:
        """While this is held, nothing is swept."""
        with self._lock("use", fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def exporting(self, key: str) -> t.Iterator[None]:
        """While this is held, nobody else exports the image `key`."""
        with self._lock(key.split(":", 1)[1], fcntl.LOCK_EX):
            yield

    def blob(self, digest: str) -> CachedBlob | None:
        """A blob that is here with all its chunks, or None."""
        blob = self._recorded(digest)
        try:
            if not blob or any(self._path(chunk).stat().st_size != chunk.packed for chunk in blob.chunks):
                return None
            os.utime(self._record(digest))
        except OSError:
            return None
        return blob

    def add(
        self,
        content: t.Iterable[bytes],
        expected: str | None = None,
        stored: t.Callable[[Chunk], None] = lambda chunk: None,
    ) -> CachedBlob:
        """Store what `content` yields.

        :param expected: the digest that it must have.
        :param stored: is told each chunk as soon as it is here, in their order.
        :raises WrongContent: it has another one. What was stored until then waits for the sweep.
        """
        whole = hashlib.sha256()
        chunks: list[Chunk] = []
        pending: collections.deque[concurrent.futures.Future[Chunk]] = collections.deque()

        def take() -> None:
            chunks.append(pending.popleft().result())
            stored(chunks[-1])

        with concurrent.futures.ThreadPoolExecutor(_WORKERS) as workers:
            for piece, small in _cut(content):
                pending.append(workers.submit(self._store, piece, small))
                whole.update(piece)
                # Never more than this many pieces in memory.
                if len(pending) > _WORKERS:
                    take()
            while pending:
                take()
        digest = "sha256:" + whole.hexdigest()
        if expected not in (None, digest):
            raise WrongContent(f"it is {digest} and not {expected}")
        blob = CachedBlob(digest, sum(chunk.size for chunk in chunks), tuple(chunks))
        fields = {"size": blob.size, "chunks": [[c.id, c.size, c.codec, c.packed] for c in chunks]}
        self._write(self._record(digest), json.dumps(fields).encode())
        return blob

    def read(self, chunk: Chunk) -> bytes:
        """The compressed bytes of a chunk, proven; a damaged one is deleted.

        :raises CorruptChunk: it is damaged or not here.
        """
        try:
            packed = self._path(chunk).read_bytes()
            image_pack.prove(chunk.id, packed)
        except FileNotFoundError as error:
            raise image_pack.CorruptChunk(chunk.id, "it is not in the cache") from error
        except image_pack.CorruptChunk:
            self._path(chunk).unlink(missing_ok=True)
            raise
        return packed

    def discard_damaged(self, digests: t.Iterable[str]) -> None:
        """Delete every damaged chunk of some blobs: one is seldom alone, and each costs who meets it a new attempt."""
        for blob in filter(None, map(self._recorded, digests)):
            for chunk in blob.chunks:
                with contextlib.suppress(image_pack.CorruptChunk):
                    self.read(chunk)

    def converted(self, chunk: Chunk, codecs: t.Sequence[str]) -> Chunk:
        """The same content in a chunk which a host with `codecs` can unpack.

        :raises CorruptChunk: it is damaged or not here.
        """
        if chunk.codec in codecs:
            return chunk
        return self._store(image_pack.unpack(chunk.id, chunk.codec, self.read(chunk), chunk.size), False, codecs[0])

    def recall(self, name: str) -> str | None:
        """What `remember` was told about `name`, or None."""
        try:
            return self._name(name).read_text(encoding="ascii")
        except FileNotFoundError:
            return None

    def remember(self, name: str, key: str) -> None:
        """Remember that the digest `name` stands for the image `key`."""
        self._write(self._name(name), key.encode())

    def sweep(self) -> None:
        """Drop what is too old or too much; does nothing while anybody uses the cache."""
        with contextlib.suppress(BlockingIOError), self._lock("use", fcntl.LOCK_EX | fcntl.LOCK_NB):
            now = time.time()
            records = sorted((self.root / "blobs").iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
            kept: dict[str, int] = {}
            for record in records:
                chunks = {chunk[0]: chunk[3] for chunk in json.loads(record.read_bytes())["chunks"]}
                total = sum({**kept, **chunks}.values())
                if now - record.stat().st_mtime > self._max_age or total > self._max_bytes:
                    record.unlink()
                else:
                    kept.update(chunks)
            for path in (self.root / "chunks").glob("*/*"):
                if path.stem not in kept:
                    path.unlink()
            for path in (self.root / "names").iterdir():
                if now - path.stat().st_mtime > self._max_age:
                    path.unlink()
            for path in (self.root / "new").iterdir():
                path.unlink()
            for path in (self.root / "locks").iterdir():
                if path.name != "use":
                    path.unlink()

    def scratch(self, name: str) -> Path:
        """A file for something that is not cached but may be large."""
        return self.root / "new" / name

    def _store(self, content: bytes, small: bool, codec: str = "") -> Chunk:
        codec = codec or image_codec.available()[0]
        packed = image_codec.compress(codec, content, small)
        chunk = Chunk(hashlib.sha256(packed).hexdigest(), len(content), codec, len(packed))
        # Also over a file that is there: it may be the damaged one.
        self._write(self._path(chunk), packed)
        return chunk

    def _path(self, chunk: Chunk) -> Path:
        return self.root / "chunks" / chunk.id[:2] / f"{chunk.id}.{chunk.codec}"

    def _name(self, name: str) -> Path:
        return self.root / "names" / name.split(":", 1)[1]

    def _recorded(self, digest: str) -> CachedBlob | None:
        """A blob as its record has it, whether its chunks are here or not; None without a readable record."""
        try:
            fields = json.loads(self._record(digest).read_text(encoding="utf-8"))
            return CachedBlob(digest, fields["size"], tuple(Chunk(*chunk) for chunk in fields["chunks"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _record(self, digest: str) -> Path:
        return self.root / "blobs" / f"{digest.split(':', 1)[1]}.json"

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        new = self.root / "new" / f"{path.name}.{os.getpid()}.{time.monotonic_ns()}"
        new.write_bytes(content)
        new.replace(path)

    @contextlib.contextmanager
    def _lock(self, name: str, mode: int) -> t.Iterator[None]:
        with open(self.root / "locks" / name, "a", encoding="utf-8") as lock:
            fcntl.flock(lock, mode)
            yield


def _cut(content: t.Iterable[bytes]) -> t.Iterator[tuple[bytes, bool]]:
    """Pieces of one chunk each, and whether the piece is all there is and small."""
    parts: list[bytes] = []
    size, first = 0, True
    for piece in content:
        rest = piece
        # The last piece waits until it is known to be the last.
        while size + len(rest) > image_pack.CHUNK_SIZE:
            room = image_pack.CHUNK_SIZE - size
            yield b"".join((*parts, rest[:room])), False
            parts, size, first, rest = [], 0, False, rest[room:]
        parts.append(rest)
        size += len(rest)
    if size:
        yield b"".join(parts), first and size <= _SMALL
