# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""An image of the controller's engine."""

from __future__ import annotations

import http.client
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
from ansible_collections.modelyard.mlops.plugins.module_utils.image_codec import CodecError
from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import Image, ImageError, digest

from .image_cache import Cache, WrongContent
from .image_inflate import plain
from .image_layer_store import LayerStore
from .image_source import SMALL, Source, Stored, pieces


class EngineSource(Source):
    """An image of the controller's engine, by a name or by an ID."""

    def __init__(self, reference: str, cache: Cache, engine: Engine | None = None) -> None:
        self._reference = reference
        self._cache = cache
        self._engine = engine or Engine(_controller_socket())
        self._root = Path()
        self._id = reference

    def describe(self) -> list[Image]:
        """Ask the engine; nothing is exported, except once for each image of a containerd store."""
        try:
            found = self._engine.get(f"/images/{self._reference}/json")
            info = self._engine.get("/info")
            version = self._engine.get("/version")
            history = self._engine.get(f"/images/{found['Id']}/history")
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
        layers = tuple(found["RootFS"]["Layers"])
        sizes = tuple(step["Size"] for step in reversed(history) if step["Size"])
        known = sizes if len(sizes) == len(layers) else ()
        return [Image(key, layers, found["Os"], found["Architecture"], found["Size"], known)]

    def export(self, cache: Cache, image: Image, missing: t.Sequence[str], stored: Stored) -> None:
        """Read single layers where that is possible, and let the engine save the image where it is not."""
        store = LayerStore(self._root)
        for position, blob in enumerate(missing):
            try:
                content = [store.config(blob)] if blob == image.key else store.layer(image.layers, blob)
                cache.add(content, blob, stored)
            except (OSError, ValueError, KeyError, EOFError, zlib.error, WrongContent):
                self._save(set(missing[position:]), stored)
                return

    def _key_of_manifest(self) -> str:
        """The containerd store names an image by its manifest; only what it saves tells the configuration."""
        with self._cache.exporting(self._id):
            key = self._cache.recall(self._id)
            if key is None:
                key = self._save()
                self._cache.remember(self._id, key)
            return key

    def _save(self, wanted: t.Collection[str] = (), stored: Stored = lambda _: None) -> str:
        """`docker save`, which gives everything; the names in it say nothing until its end, so all of it is taken.

        :param wanted: the blobs whose chunks `stored` is told.
        :returns: the key of the image.
        """
        texts: dict[str, bytes] = {}
        try:
            with self._engine.raw("GET", f"/images/{self._id}/get") as response, _stream(response) as archive:
                for member in filter(tarfile.TarInfo.isfile, archive):
                    content = pieces(archive, member)
                    if member.size <= SMALL:
                        text = b"".join(content)
                        if text[:1] in (b"{", b"["):
                            texts[member.name] = text
                        content = iter([text])
                    blob = self._cache.add(plain(content))
                    for chunk in blob.chunks if blob.digest in wanted else ():
                        stored(chunk)
            return digest(texts[json.loads(texts["manifest.json"])[0]["Config"]])
        except (EngineError, EngineUnreachable, tarfile.TarError, CodecError, KeyError, ValueError, OSError) as error:
            raise ImageError(f"the controller's engine does not give image {self._reference}: {error}") from error


def _controller_socket() -> str:
    host = os.environ.get("DOCKER_HOST", "")
    if host and not host.startswith("unix://"):
        raise ImageError(
            f"DOCKER_HOST is {host}: the engine that images come from has to be on the controller (unix://)"
        )
    return host[len("unix://") :] or DEFAULT_SOCKET


def _stream(response: http.client.HTTPResponse) -> tarfile.TarFile:
    return tarfile.open(fileobj=t.cast("t.IO[bytes]", response), mode="r|")
