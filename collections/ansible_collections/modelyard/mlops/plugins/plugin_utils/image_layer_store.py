# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Reads single layers out of the classic store's own folder.

`docker save` writes every layer of an image, again for each new commit. The engine keeps, for each layer,
the list of its tar headers (`tar-split.json.gz`) next to its files, so that the layer can be put together
again byte by byte; this does the same, for only those layers that are asked for. It needs read access to
the engine's folder, which root has. The folder's layout is no interface, so callers compare the digest of
what comes out and use `docker save` when it differs.
"""

from __future__ import annotations

import base64
import gzip
import json
import typing as t
from pathlib import Path

from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import chain_ids

_FILE = 1
_SEGMENT = 2
_PIECE = 1024 * 1024


class LayerStore:
    """The folder of a classic store with the driver overlay2."""

    def __init__(self, root: Path) -> None:
        self._files = root / "overlay2"
        self._records = root / "image" / "overlay2"

    def config(self, key: str) -> bytes:
        """The configuration of an image."""
        return (self._records / "imagedb" / "content" / key.replace(":", "/")).read_bytes()

    def layer(self, layers: t.Sequence[str], wanted: str) -> t.Iterator[bytes]:
        """Yield the tar of the layer `wanted` of an image that has `layers`.

        :raises OSError: the folder cannot be read, or is no such folder.
        :raises ValueError: it is laid out in another way.
        """
        chain = chain_ids(layers)[list(layers).index(wanted)]
        record = self._records / "layerdb" / chain.replace(":", "/")
        files = self._files / (record / "cache-id").read_text(encoding="ascii").strip() / "diff"
        with gzip.open(record / "tar-split.json.gz", "rt", encoding="utf-8") as entries:
            for line in entries:
                entry = json.loads(line)
                if entry["type"] == _SEGMENT:
                    yield base64.b64decode(entry["payload"])
                elif entry["type"] == _FILE and entry.get("size"):
                    yield from _content(files, _name(entry))


def _name(entry: dict[str, t.Any]) -> bytes:
    # A name that is no UTF-8 is kept apart.
    if entry.get("name_raw"):
        return base64.b64decode(entry["name_raw"])
    return str(entry["name"]).encode()


def _content(files: Path, name: bytes) -> t.Iterator[bytes]:
    with open(bytes(files) + b"/" + name, "rb") as file:
        while piece := file.read(_PIECE):
            yield piece
