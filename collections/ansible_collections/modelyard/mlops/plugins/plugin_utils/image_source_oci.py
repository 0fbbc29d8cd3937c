# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""An image in a layout of the OCI image specification: a folder, or a tar of one. No engine is needed for it."""

from __future__ import annotations

import contextlib
import json
import os
import tarfile
import typing as t
import zlib
from dataclasses import dataclass

from ansible_collections.modelyard.mlops.plugins.module_utils.image_codec import CodecError
from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import Image, ImageError, digest

from .image_cache import Cache, WrongContent
from .image_inflate import plain
from .image_source import PIECE, SMALL, Source, Stored, pieces

_NAMES = ("org.opencontainers.image.ref.name", "io.containerd.image.name")
# An index in an index has no end that the specification would set.
_DEEPEST = 4
_USUAL_RATIO = 3

Descriptor = dict[str, t.Any]


class _Layout(t.Protocol):
    """The files of a layout."""

    def read(self, name: str) -> t.Iterator[bytes]:
        """The content of a file; FileNotFoundError or KeyError when there is none."""


class _Folder:
    def __init__(self, path: str) -> None:
        self._path = path

    def read(self, name: str) -> t.Iterator[bytes]:
        with open(os.path.join(self._path, name), "rb") as file:
            while piece := file.read(PIECE):
                yield piece


class _Tar:
    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._members = {os.path.normpath(member.name): member for member in archive if not member.isdir()}

    def read(self, name: str) -> t.Iterator[bytes]:
        return pieces(self._archive, self._members[name])


@dataclass(frozen=True)
class _Found:
    image: Image
    layers: tuple[Descriptor, ...]


class OciSource(Source):
    """An image in an OCI layout, of one platform or several.

    :param path: the folder or the tar (also one inside gzip, bzip2 or xz).
    :param reference: which of several images in the layout.
    """

    def __init__(self, path: str, reference: str) -> None:
        self._path = path
        self._reference = reference

    def describe(self) -> list[Image]:
        """Read the index, the manifests and the configurations, each proven by its digest."""
        with self._open() as layout:
            return [found.image for found in self._images(layout)]

    def export(self, cache: Cache, image: Image, missing: t.Sequence[str], stored: Stored) -> None:
        """Decompress the wanted layers; what comes out is proven by the digests in the configuration."""
        with self._open() as layout:
            found = next((found for found in self._images(layout) if found.image.key == image.key), None)
            if found is None:
                raise ImageError(f"image {image.key} is not in {self._path} any more")
            names = dict(zip(image.layers, (layer["digest"] for layer in found.layers), strict=True))
            for blob in missing:
                name = names.get(blob, image.key)
                try:
                    cache.add(plain(layout.read(_blob(name))), blob, stored)
                except (WrongContent, CodecError) as error:
                    raise ImageError(f"blob {name} in {self._path} is damaged: {error}") from error

    @contextlib.contextmanager
    def _open(self) -> t.Iterator[_Layout]:
        try:
            if os.path.isdir(self._path):
                yield _Folder(self._path)
            else:
                with tarfile.open(self._path, "r:*") as archive:
                    yield _Tar(archive)
        except (OSError, tarfile.TarError, KeyError, TypeError, ValueError, EOFError, zlib.error) as error:
            raise ImageError(f"{self._path} is no OCI layout that can be read: {error!r}") from error

    def _images(self, layout: _Layout) -> list[_Found]:
        version = json.loads(_text(layout, "oci-layout"))["imageLayoutVersion"]
        if version != "1.0.0":
            raise ImageError(f"{self._path} is a layout of version {version}: only 1.0.0 is known")
        index = json.loads(_text(layout, "index.json"))
        found = [_image(layout, manifest) for manifest in self._manifests(layout, self._named(index["manifests"]))]
        if not found:
            raise ImageError(f"{self._path} has no image in it")
        return found

    def _named(self, entries: list[Descriptor]) -> list[Descriptor]:
        """Those of `entries` that are called by the reference."""
        tag = self._reference.rpartition(":")[2]
        names = [{(entry.get("annotations") or {}).get(name) for name in _NAMES} - {None} for entry in entries]
        for wanted in (
            {self._reference, f"docker.io/{self._reference}", f"docker.io/library/{self._reference}"},
            {tag},
        ):
            named = [entry for entry, known in zip(entries, names, strict=True) if wanted & known]
            if named:
                return named
        if len(set().union(*names)) > 1:
            known = ", ".join(sorted(map(str, set().union(*names))))
            raise ImageError(f"{self._path} has no image {self._reference}; it has {known}")
        return entries

    def _manifests(self, layout: _Layout, entries: list[Descriptor], depth: int = 0) -> t.Iterator[dict[str, t.Any]]:
        """The manifests of images behind `entries`, through the indexes among them."""
        for entry in entries:
            if (entry.get("platform") or {}).get("os") == "unknown":
                continue  # an attestation
            content = json.loads(_proven(layout, entry["digest"]))
            if "manifests" in content and depth < _DEEPEST:
                yield from self._manifests(layout, content["manifests"], depth + 1)
            elif "layers" in content:
                yield content


def _image(layout: _Layout, manifest: dict[str, t.Any]) -> _Found:
    layers = tuple(manifest["layers"])
    image = Image.from_config(_proven(layout, manifest["config"]["digest"]), tuple(map(_size, layers)))
    if len(image.layers) != len(layers):
        raise ImageError(f"image {image.key} names {len(image.layers)} layers, and its manifest {len(layers)}")
    return _Found(image, layers)


def _size(layer: Descriptor) -> int:
    """About how many bytes a layer has; what comes out of a compressed one is not known before."""
    compressed = layer.get("mediaType", "").endswith(("gzip", "zstd"))
    return int(layer["size"]) * (_USUAL_RATIO if compressed else 1)


def _proven(layout: _Layout, name: str) -> bytes:
    content = _text(layout, _blob(name))
    if digest(content) != name:
        raise ImageError(f"blob {name} is damaged: its digest is {digest(content)}")
    return content


def _text(layout: _Layout, name: str) -> bytes:
    content = bytearray()
    for piece in layout.read(name):
        content += piece
        if len(content) > SMALL:
            raise ImageError(f"{name} is too large for what it should be")
    return bytes(content)


def _blob(name: str) -> str:
    algorithm, _unused, encoded = name.partition(":")
    if not (algorithm.isalnum() and encoded.isalnum()):
        raise ImageError(f"'{name}' is no digest")
    return f"blobs/{algorithm}/{encoded}"
