# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""An image in a file that `docker save` wrote."""

from __future__ import annotations

import contextlib
import json
import tarfile
import typing as t
import zlib

from ansible_collections.modelyard.mlops.plugins.module_utils.image_codec import CodecError
from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import Image, ImageError

from .image_cache import Cache, WrongContent
from .image_inflate import plain
from .image_source import SMALL, Source, Stored, pieces


class ArchiveSource(Source):
    """An image in a file that `docker save` wrote (also one inside gzip, bzip2 or xz).

    :param reference: which of several images in the file.
    """

    def __init__(self, path: str, reference: str) -> None:
        self._path = path
        self._reference = reference

    def describe(self) -> list[Image]:
        """Read the manifest and the configuration."""
        with self._open() as archive:
            entry = self._entry(archive)
            sizes = tuple(archive.getmember(name).size for name in entry["Layers"])
            return [Image.from_config(self._read(archive, entry["Config"]), sizes)]

    def export(self, cache: Cache, image: Image, missing: t.Sequence[str], stored: Stored) -> None:
        """Read the wanted layers, plain or compressed."""
        with self._open() as archive:
            entry = self._entry(archive)
            names = dict(zip(image.layers, entry["Layers"], strict=True))
            for blob in missing:
                name = names.get(blob, entry["Config"])
                try:
                    cache.add(plain(pieces(archive, archive.getmember(name))), blob, stored)
                except (WrongContent, CodecError) as error:
                    raise ImageError(f"layer {name} in {self._path} is damaged: {error}") from error

    @contextlib.contextmanager
    def _open(self) -> t.Iterator[tarfile.TarFile]:
        try:
            with tarfile.open(self._path, "r:*") as archive:
                yield archive
        except (OSError, tarfile.TarError, KeyError, ValueError, EOFError, zlib.error) as error:
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
        if member.size > SMALL:
            raise ImageError(f"{name} is too large for what it should be: {member.size} bytes")
        return b"".join(pieces(archive, member))
