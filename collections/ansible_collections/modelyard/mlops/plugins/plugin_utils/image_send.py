# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Puts chunks onto a host in packs, and says how far it is; what is small goes with the question that follows."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.modelyard.mlops.plugins.module_utils import image_pack

from .image_cache import Cache, Chunk
from .image_plan import human

# A pack is what one file transfer carries: about so many seconds' worth, so that progress shows and little time
# goes into starting transfers. Its bounds are bytes.
_SECONDS = 5.0
_SMALLEST = 4 * 1024 * 1024
_LARGEST = 32 * 1024 * 1024
# Up to here a file transfer takes longer to start than to run.
_ALONG = 1024 * 1024


class Sender:
    """The way of one image's chunks to one host.

    :param put: brings a local file to the host, under the name given.
    :param show: tells a person how far it is.
    :param total: about how many uncompressed bytes travel.
    :ivar sent: the bytes that were put on the connection, without those that are left to a question.
    :ivar names: for each chunk that was given the name which it has on the host.
    """

    def __init__(
        self, cache: Cache, key: str, put: t.Callable[[str, str], None], show: t.Callable[[str], None], total: int
    ) -> None:
        self._cache = cache
        self._key = key
        self._put = put
        self._show = show
        self._total = total
        self._content = 0
        self.sent = 0
        self.names: dict[str, str] = {}

    def send(self, chunks: t.Iterator[Chunk], staged: t.Iterable[str], codecs: t.Sequence[str]) -> tuple[str, bytes]:
        """Put those of `chunks` on the host that are not there, as they come.

        :param staged: the chunks that are there already.
        :param codecs: what the host can unpack.
        :returns: name and content of the last pack, when it is small enough to go with a question; else both are empty.
        :raises CorruptChunk: the cache has one that is damaged.
        """
        there = set(staged)
        pack: list[Chunk] = []
        limit, size = _SMALLEST, 0
        began = time.monotonic()
        for given in chunks:
            chunk = self._cache.converted(given, codecs)
            self.names[given.id] = chunk.id
            self._content += chunk.size
            if chunk.id in there:
                continue
            there.add(chunk.id)
            pack.append(chunk)
            size += chunk.packed
            if size >= limit:
                rate = self._put_pack(pack, began)
                limit = int(min(max(rate * _SECONDS, _SMALLEST), _LARGEST))
                pack, size = [], 0
        if size > _ALONG:
            self._put_pack(pack, began)
        elif pack:
            content = b"".join(self._frames(pack))
            amount = human(self.sent + len(content))
            self._show(f"{amount} of {amount}, the end of it with the load")
            return image_pack.pack_name(self._key), content
        return "", b""

    def _frames(self, chunks: t.Iterable[Chunk]) -> t.Iterator[bytes]:
        """The content of a pack."""
        for chunk in chunks:
            yield image_pack.header(chunk.id, chunk.codec, chunk.size, chunk.packed)
            yield self._cache.read(chunk)

    def _put_pack(self, chunks: list[Chunk], began: float) -> float:
        """Returns the bytes per second since `began`."""
        name = image_pack.pack_name(self._key)
        local = self._cache.scratch(name)
        try:
            with open(local, "wb") as pack:
                pack.writelines(self._frames(chunks))
            self._put(str(local), name)
            self.sent += local.stat().st_size
        finally:
            local.unlink(missing_ok=True)
        seconds = max(time.monotonic() - began, 0.001)
        # What is still being exported has no size yet: it will be compressed as well as what has gone.
        part = min(self._content / max(self._total, 1), 1.0)
        left = f", {seconds * (1 - part) / part:.0f} s left" if part < 1 else ""
        self._show(f"{human(self.sent)} of {human(self.sent / part)}, {human(self.sent / seconds)}/s{left}")
        return self.sent / seconds
