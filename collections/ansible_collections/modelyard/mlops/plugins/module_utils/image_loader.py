# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Brings one image from the staging folder into the engine: load, prove, name, tidy up, in this order."""

from __future__ import annotations

import time
import typing as t

from .engine import EngineError, EngineUnreachable
from .image_archive import Blob, archive
from .image_key import digest, split_reference
from .image_layout import layout, manifest
from .image_pack import CorruptChunk, Staging
from .image_records import Record
from .image_target import CONTAINERD, Inspected, Target, Wanted

# An interrupted transfer is worth keeping for a day; then a newer commit has taken its place.
FORGOTTEN_AFTER = 24 * 3600.0

_ARRIVING = "modelyard-arriving"


class LoadFailed(Exception):
    """The image is not here and sending more does not help."""


class Loader:
    """Brings one image into the engine.

    :param wanted: the options of the module image_load.
    """

    def __init__(self, target: Target, staging: Staging, wanted: dict[str, t.Any]) -> None:
        self._target = target
        self._staging = staging
        self._name: str = wanted["name"]
        self._key: str = wanted["key"]
        self._layers: tuple[str, ...] = tuple(wanted["layers"])
        self._platform: tuple[str, str] = (wanted["os"], wanted["architecture"])
        self._blobs = {
            blob["digest"]: Blob(blob["digest"], blob["size"], tuple(blob["chunks"])) for blob in wanted["blobs"]
        }
        # The engine removes an image without a name at the next clean-up, so it arrives with one of ours.
        self._arriving = f"{_ARRIVING}:{self._key.split(':', 1)[1][:32]}"

    def run(self) -> dict[str, t.Any]:
        """Returns the answer of the module."""
        image = self._target.find(self._key)
        outcome = "present"
        if image is None:
            unloaded = self._load()
            if unloaded:
                return {"changed": False, "id": "", **unloaded}
            image = self._arrived()
            outcome = "loaded"
        moved = self._target.key_at(self._name) != self._key
        if moved:
            self._target.tag(image, *split_reference(self._name))
        self._target.records.name(image["Id"], self._name)
        # Also the name of an image whose load was killed before it got its own; only one is loaded at a time.
        for name in self._target.names(_ARRIVING):
            self._target.untag(name)
        self._staging.clear(self._key, FORGOTTEN_AFTER)
        return {**answer(outcome), "changed": moved or outcome == "loaded", "id": image["Id"]}

    def _load(self) -> dict[str, t.Any] | None:
        """Stream the archive into the engine; returns what has to be sent again, or None when all went well."""
        here = self._staging.chunks()
        needed = [chunk for blob in self._blobs.values() for chunk in blob.chunks]
        missing = [chunk for chunk in needed if chunk not in here]
        if self._key not in self._blobs or missing:
            return answer("missing", chunks=missing)
        unknown = set(self._layers) - set(self._sizes())
        if self._target.store == CONTAINERD and unknown:
            return answer("refused", reason=f"it has no {', '.join(sorted(unknown))} any more")
        try:
            self._target.load(self._archive())
            self._verify()
        except CorruptChunk as error:
            # Where one is damaged others may be, and each attempt takes its time.
            return answer("corrupt", chunks=self._staging.strike_damaged(needed), reason=str(error))
        except EngineUnreachable as error:
            return answer("interrupted", reason=str(error))
        except (EngineError, LoadFailed) as error:
            complete = set(self._layers) <= set(self._blobs)
            if complete or "no space left" in str(error):
                raise LoadFailed(f"the engine does not load {self._name}: {error}") from error
            return answer("refused", reason=str(error))
        return None

    def _arrived(self) -> Inspected:
        image = self._target.inspect(self._arriving)
        if image is None:
            raise LoadFailed(f"{self._name} was removed from the engine as soon as it was loaded")
        return image

    def _archive(self) -> t.Iterator[bytes]:
        config = self._blobs[self._key]
        layers = [blob for blob in self._blobs.values() if blob.digest != self._key]
        read = self._staging.contents
        if self._target.store == CONTAINERD:
            return layout(config, self._layers, self._sizes(), layers, self._arriving, read)
        return archive(config, self._layers, layers, self._arriving, read)

    def _sizes(self) -> dict[str, int]:
        """The bytes of the layers that were sent or are here."""
        return {**self._target.blobs(), **{blob.digest: blob.size for blob in self._blobs.values()}}

    def _verify(self) -> None:
        """Prove that the image which was loaded is the wanted one, and record it; another one is removed.

        :raises LoadFailed: it is another one.
        """
        image = self._target.inspect(self._arriving)
        if image is None:
            raise LoadFailed("the engine took the archive and has no image of it")
        sizes = self._sizes()
        image_id = self._key
        if self._target.store == CONTAINERD:
            image_id = digest(manifest(self._blobs[self._key], self._layers, sizes))
        problem = self._target.problem(image, Wanted(image_id, self._layers, *self._platform))
        if problem:
            self._target.untag(self._arriving)
            raise LoadFailed(f"what it made of the archive is wrong and was removed: {problem}")
        self._target.forget_gone()
        # Only the containerd store has a use for the layers, and there all of them are known.
        layers = {layer: sizes[layer] for layer in self._layers if layer in sizes}
        self._target.records.put(Record(image["Id"], self._key, time.time(), layers=layers))


def answer(outcome: str, chunks: t.Sequence[str] = (), reason: str = "") -> dict[str, t.Any]:
    """What a load came to, as the module image_load documents it."""
    return {"outcome": outcome, "chunks": list(chunks), "reason": reason}
