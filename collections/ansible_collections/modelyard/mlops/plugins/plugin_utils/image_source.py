# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Where an image comes from: the controller's engine, or an archive that `docker save` wrote.

Both tell what the image is without reading its layers, and export only the blobs that are asked for
and that the cache does not have.
"""

from __future__ import annotations

import abc
import contextlib
import http.client
import itertools
import json
import os
import tarfile
import typing as t
import zlib
from pathlib import Path

from ansible_collections.modelyard.mlops.plugins.module_utils import image_target
from ansible_collections.modelyard.mlops.plugins.module_utils.engine import (
    DEFAULT_SOCKET,
    Engine,
    EngineError,
    EngineUnreachable,
)
from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import Image, ImageError, digest

from .image_cache import Cache, WrongContent
from .image_layer_store import LayerStore

_PIECE = 1024 * 1024
_GZIP = b"\x1f\x8b"
# A configuration or a manifest; anything larger in an archive is a layer.
_SMALL = 4 * 1024 * 1024


class Source(abc.ABC):
    """One image at the place where it comes from."""

    @abc.abstractmethod
    def describe(self) -> Image:
        """What the image is.

        :raises ImageError: it is not there, or not to be read.
        """

    @abc.abstractmethod
    def export(self, cache: Cache, image: Image, missing: set[str]) -> None:
        """Put the blobs `missing` (layers and, by the image's key, the configuration) into `cache`."""


def export(source: Source, cache: Cache, image: Image, blobs: t.Iterable[str]) -> None:
    """Put `blobs` of `image` into `cache`, unless they are there.

    :raises ImageError: the source does not give them.
    """
    wanted = set(blobs)
    with cache.exporting(image.key):
        missing = {blob for blob in wanted if cache.blob(blob) is None}
        if missing:
            source.export(cache, image, missing)
        absent = [blob for blob in sorted(missing) if cache.blob(blob) is None]
    if absent:
        raise ImageError(f"the source of image {image.key} gave no {', '.join(absent)}; was it replaced meanwhile?")


class EngineSource(Source):
    """An image of the controller's engine."""

    def __init__(self, reference: str, cache: Cache, engine: Engine | None = None) -> None:
        self._reference = reference
        self._cache = cache
        self._engine = engine or Engine(_controller_socket())
        self._root = Path()
        self._id = reference

    def describe(self) -> Image:
        """Ask the engine; nothing is exported, except once for each image of a containerd store."""
        try:
            found = self._engine.get(f"/images/{self._reference}/json")
            info = self._engine.get("/info")
            version = self._engine.get("/version")
        except EngineError as error:
            if error.status == http.client.NOT_FOUND:
                raise ImageError(
                    f"the controller's engine has no image {self._reference}: build it, or name its archive"
                ) from error
            raise ImageError(str(error)) from error
        except EngineUnreachable as error:
            raise ImageError(f"{error}: start the controller's engine, or name an archive as the source") from error
        self._root = Path(info["DockerRootDir"])
        self._id = found["Id"] if ":" in found["Id"] else "sha256:" + found["Id"]
        contained = image_target.store(version, info) == image_target.CONTAINERD
        key = self._key_of_manifest() if contained else self._id
        return Image(key, tuple(found["RootFS"]["Layers"]), found["Os"], found["Architecture"], found["Size"])

    def export(self, cache: Cache, image: Image, missing: set[str]) -> None:
        """Read single layers where that is possible, and let the engine save the image where it is not."""
        store = LayerStore(self._root)
        try:
            for blob in sorted(missing):
                content = [store.config(blob)] if blob == image.key else store.layer(image.layers, blob)
                cache.add(content, blob)
        except (OSError, ValueError, KeyError, EOFError, zlib.error, WrongContent):
            self._save()

    def _key_of_manifest(self) -> str:
        """The containerd store names an image by its manifest; only what it saves tells the configuration."""
        with self._cache.exporting(self._id):
            key = self._cache.recall(self._id)
            if key is None:
                key = self._save()
                self._cache.remember(self._id, key)
            return key

    def _save(self) -> str:
        """`docker save`, which gives everything; the names in it say nothing until its end, so all of it is taken.

        Returns the key of the image.
        """
        texts: dict[str, bytes] = {}
        try:
            with self._engine.raw("GET", f"/images/{self._id}/get") as response, _stream(response) as archive:
                for member in filter(tarfile.TarInfo.isfile, archive):
                    content = _pieces(archive, member)
                    if member.size <= _SMALL:
                        text = b"".join(content)
                        if text[:1] in (b"{", b"["):
                            texts[member.name] = text
                        content = iter([text])
                    self._cache.add(_plain(content))
            return digest(texts[json.loads(texts["manifest.json"])[0]["Config"]])
        except (EngineError, EngineUnreachable, tarfile.TarError, KeyError, ValueError) as error:
            raise ImageError(f"the controller's engine does not give image {self._reference}: {error}") from error


class ArchiveSource(Source):
    """An image in a file that `docker save` wrote (also one inside gzip, bzip2 or xz).

    :param reference: which of several images in the file.
    """

    def __init__(self, path: str, reference: str) -> None:
        self._path = path
        self._reference = reference

    def describe(self) -> Image:
        """Read the manifest and the configuration."""
        with self._open() as archive:
            entry = self._entry(archive)
            sizes = [archive.getmember(name).size for name in entry["Layers"]]
            return Image.from_config(self._read(archive, entry["Config"]), sum(sizes))

    def export(self, cache: Cache, image: Image, missing: set[str]) -> None:
        """Read the wanted layers, plain or compressed."""
        with self._open() as archive:
            entry = self._entry(archive)
            config = self._read(archive, entry["Config"])
            if image.key in missing:
                cache.add([config], image.key)
            for layer, name in dict(zip(image.layers, entry["Layers"], strict=True)).items():
                if layer in missing:
                    try:
                        cache.add(_plain(_pieces(archive, archive.getmember(name))), layer)
                    except (WrongContent, zlib.error, EOFError) as error:
                        raise ImageError(f"layer {name} in {self._path} is damaged: {error}") from error

    @contextlib.contextmanager
    def _open(self) -> t.Iterator[tarfile.TarFile]:
        try:
            with tarfile.open(self._path, "r:*") as archive:
                yield archive
        except (OSError, tarfile.TarError, KeyError, ValueError, EOFError) as error:
            raise ImageError(f"{self._path} is no archive of 'docker save' that can be read: {error}") from error

    def _entry(self, archive: tarfile.TarFile) -> dict[str, t.Any]:
        entries: list[dict[str, t.Any]] = json.loads(self._read(archive, "manifest.json"))
        named = [entry for entry in entries if self._reference in (entry.get("RepoTags") or [])]
        if not named and len(entries) == 1:
            named = entries
        if not named:
            tags = sorted(tag for entry in entries for tag in entry.get("RepoTags") or [])
            raise ImageError(f"{self._path} has no image {self._reference}; it has {', '.join(tags)}")
        return named[0]

    @staticmethod
    def _read(archive: tarfile.TarFile, name: str) -> bytes:
        member = archive.getmember(name)
        if member.size > _SMALL:
            raise ImageError(f"{name} is too large for what it should be: {member.size} bytes")
        return b"".join(_pieces(archive, member))


def _controller_socket() -> str:
    host = os.environ.get("DOCKER_HOST", "")
    if host and not host.startswith("unix://"):
        raise ImageError(
            f"DOCKER_HOST is {host}: the engine that images come from has to be on the controller (unix://)"
        )
    return host[len("unix://") :] or DEFAULT_SOCKET


def _stream(response: http.client.HTTPResponse) -> tarfile.TarFile:
    return tarfile.open(fileobj=t.cast("t.IO[bytes]", response), mode="r|")


def _pieces(archive: tarfile.TarFile, member: tarfile.TarInfo) -> t.Iterator[bytes]:
    # extractfile follows links: older engines write a layer that appears twice as a link to its first place.
    file = archive.extractfile(member)
    if file is None:
        raise tarfile.TarError(f"{member.name} is no file")
    while piece := file.read(_PIECE):
        yield piece


def _plain(content: t.Iterator[bytes]) -> t.Iterator[bytes]:
    """A layer as it is before compression, which the archives of some tools have inside."""
    first = next(content, b"")
    whole = itertools.chain([first], content)
    if not first.startswith(_GZIP):
        yield from whole
        return
    inflate = zlib.decompressobj(wbits=31)
    for piece in whole:
        yield inflate.decompress(piece)
    yield inflate.flush()
