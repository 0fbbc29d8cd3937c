# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The archive for an engine with the containerd store: an OCI layout in a tar, written as a stream.

That store keeps blobs by their digest. A blob which it has may be left out of the archive, but not out of
the manifest. Layers are uncompressed, so the digest of a blob is that of the layer in the configuration, and
the manifest, and with it the ID that the engine gives to the image, follow from the configuration alone.
"""

from __future__ import annotations

import json
import typing as t

from .image_archive import END, Blob, Read, file_member, member
from .image_key import digest

_OCI = "application/vnd.oci.image"


def manifest(config: Blob, layers: t.Sequence[str], sizes: t.Mapping[str, int]) -> bytes:
    """The manifest of an image; the digest of it is the image's ID in a containerd store.

    :param sizes: the bytes of each layer.
    """
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": _descriptor("config.v1+json", config.digest, config.size),
            "layers": [_descriptor("layer.v1.tar", layer, sizes[layer]) for layer in layers],
        }
    )


def layout(
    config: Blob, layers: t.Sequence[str], sizes: t.Mapping[str, int], blobs: t.Iterable[Blob], name: str, read: Read
) -> t.Iterator[bytes]:
    """Yield the archive of an image piece by piece.

    :param layers: the digests of all layers of the image, the lowest first.
    :param sizes: the bytes of each of them.
    :param blobs: those layers that go into the archive.
    :param name: `repository:tag`, which the engine gives to the image when it has loaded it.
    :param read: yields the contents of chunks.
    """
    content = manifest(config, layers, sizes)
    index = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.index.v1+json",
        "manifests": [
            {
                **_descriptor("manifest.v1+json", digest(content), len(content)),
                "annotations": {
                    # The first is what containerd calls it by, the second what the specification knows.
                    "io.containerd.image.name": f"docker.io/library/{name}",
                    "org.opencontainers.image.ref.name": name.rpartition(":")[2],
                },
            }
        ],
    }
    yield file_member("oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
    yield file_member("index.json", _json(index))
    yield file_member(_path(digest(content)), content)
    for blob in {blob.digest: blob for blob in (config, *blobs)}.values():
        yield from member(_path(blob.digest), blob, read)
    yield END


def _descriptor(kind: str, name: str, size: int) -> dict[str, t.Any]:
    return {"mediaType": f"{_OCI}.{kind}", "digest": name, "size": size}


def _path(name: str) -> str:
    return "blobs/" + name.replace(":", "/")


def _json(value: t.Any) -> bytes:
    # Always the same bytes, since their digest is a name.
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
