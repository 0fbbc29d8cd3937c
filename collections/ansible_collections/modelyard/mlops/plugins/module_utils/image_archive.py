# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The archive that `docker load` reads, written as a stream.

The manifest names every layer of the image, and a layer that the engine already has may be left out:
the classic store looks a layer up by its chain ID first and opens its file only when it is not there.
"""

from __future__ import annotations

import json
import tarfile
import typing as t

# The end of a tar.
END = bytes(2 * tarfile.BLOCKSIZE)

Read = t.Callable[[t.Sequence[str]], t.Iterable[bytes]]


class Blob(t.NamedTuple):
    """Content named by its digest, in the chunks that make it up."""

    digest: str
    size: int
    chunks: tuple[str, ...]


def archive(
    config: Blob,
    layers: t.Sequence[str],
    blobs: t.Iterable[Blob],
    tag: str,
    read: Read,
) -> t.Iterator[bytes]:
    """Yield the archive of an image piece by piece.

    :param layers: the digests of all layers of the image, the lowest first.
    :param blobs: those layers that go into the archive.
    :param tag: the reference that the engine gives to the image when it has loaded it.
    :param read: yields the contents of chunks.
    """
    yield from member(_config_name(config.digest), config, read)
    for blob in {blob.digest: blob for blob in blobs}.values():
        yield from member(_layer_name(blob.digest), blob, read)
    manifest = [
        {
            "Config": _config_name(config.digest),
            "RepoTags": [tag],
            "Layers": [_layer_name(layer) for layer in layers],
        }
    ]
    yield file_member("manifest.json", json.dumps(manifest).encode())
    yield END


def member(name: str, blob: Blob, read: Read) -> t.Iterator[bytes]:
    """A file of a tar, with the content of a blob."""
    yield _header(name, blob.size)
    yield from read(blob.chunks)
    yield _padding(blob.size)


def file_member(name: str, content: bytes) -> bytes:
    """A file of a tar."""
    return _header(name, len(content)) + content + _padding(len(content))


def _config_name(digest: str) -> str:
    return digest.split(":", 1)[1] + ".json"


def _layer_name(digest: str) -> str:
    return digest.split(":", 1)[1] + "/layer.tar"


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)
