# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Where images come from.

A source tells what the image is without reading its layers, and exports only the blobs that are asked for
and that the cache does not have.
"""

from __future__ import annotations

import abc
import concurrent.futures
import queue
import tarfile
import typing as t

from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import Image, ImageError

from .image_cache import Cache, Chunk

PIECE = 1024 * 1024
# A configuration or a manifest; anything larger in an archive is a layer.
SMALL = 4 * 1024 * 1024

Stored = t.Callable[[Chunk], None]


class Source(abc.ABC):
    """One image at the place where it comes from, for one platform or for several."""

    @abc.abstractmethod
    def describe(self) -> list[Image]:
        """What the image is, on each platform that it is made for.

        :raises ImageError: it is not there, or not to be read.
        """

    @abc.abstractmethod
    def export(self, cache: Cache, image: Image, missing: t.Sequence[str], stored: Stored) -> None:
        """Put the blobs `missing` (layers and, by the image's key, the configuration) into `cache`.

        :param stored: is told each of their chunks as soon as it is in the cache.
        """


def export(source: Source, cache: Cache, image: Image, blobs: t.Iterable[str], stored: Stored = lambda _: None) -> None:
    """Put `blobs` of `image` into `cache`, unless they are there, and tell their chunks to `stored`.

    :raises ImageError: the source does not give them.
    """
    missing = []
    with cache.exporting(image.key):
        for digest in blobs:
            blob = cache.blob(digest)
            if blob is None:
                missing.append(digest)
                continue
            for chunk in blob.chunks:
                stored(chunk)
        if missing:
            source.export(cache, image, missing, stored)
        absent = [blob for blob in missing if cache.blob(blob) is None]
    if absent:
        raise ImageError(f"the source of image {image.key} gave no {', '.join(absent)}; was it replaced meanwhile?")


def flowing(work: t.Callable[[Stored], None]) -> t.Generator[Chunk, None, None]:
    """Yield the chunks that `work` tells, while it goes on in a thread of its own.

    What it raises is raised here after the last of them. Who stops early waits until it is done.
    """
    told: queue.SimpleQueue[Chunk | None] = queue.SimpleQueue()
    with concurrent.futures.ThreadPoolExecutor(1) as worker:
        done = worker.submit(work, told.put)
        done.add_done_callback(lambda _: told.put(None))
        while chunk := told.get():
            yield chunk
        done.result()


def pieces(archive: tarfile.TarFile, member: tarfile.TarInfo) -> t.Iterator[bytes]:
    """The content of a file in an archive."""
    # extractfile follows links: older engines write a layer that appears twice as a link to its first place.
    file = archive.extractfile(member)
    if file is None:
        raise tarfile.TarError(f"{member.name} is no file")
    while piece := file.read(PIECE):
        yield piece
