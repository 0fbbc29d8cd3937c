# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Brings one image from the staging folder into the engine: load, prove, name, tidy up, in this order."""

from __future__ import annotations

import time
import typing as t
from urllib.parse import quote

from .engine import EngineError
from .image_archive import Blob, archive
from .image_key import ImageError, digest, split_reference
from .image_layout import layout, manifest
from .image_pack import CorruptChunk, Staging
from .image_records import Record
from .image_target import CONTAINERD, Inspected, Target, Wanted
from .textfile import Metric, publish, render

# An interrupted transfer is worth keeping for a day; then a newer commit has taken its place.
FORGOTTEN_AFTER = 24 * 3600.0

_ARRIVING = "modelyard-arriving"


class LoadFailed(ImageError):
    """The image is not here and sending more does not help."""


class Loader:
    """Brings one image into the engine.

    :param wanted: its name, key, os, architecture, all its layers, and as blobs what was sent: digest, size and chunks.
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
        """Returns what it came to, as `answer` says, and when the image is here its id and whether anything changed."""
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
    """What a load came to.

    :param outcome: `loaded`, or `present` when the image was here already; `missing` or `corrupt` when `chunks` have to
        be sent again; `interrupted` when the engine went away meanwhile, or what arrived could not be kept; `refused`
        when the engine did not take an archive without the layers that it was believed to have.
    """
    return {"outcome": outcome, "chunks": list(chunks), "reason": reason}


def bring(target: Target, staging: Staging, wanted: dict[str, t.Any]) -> tuple[dict[str, t.Any], str]:
    """Load an image and show what its transfer took; returns what it came to, and a warning or nothing.

    :param wanted: see Loader, and the transfer's figures: bytes_sent, bytes_skipped, and the seconds up to now.
    """
    began = time.monotonic()
    warning = ""
    # Two controllers may bring the same image; the second then finds it here.
    with staging.locked():
        done = Loader(target, staging, wanted).run()
    if done["changed"]:
        # By repository: a tag names a commit, and each would leave figures behind.
        repository = split_reference(wanted["name"])[0]
        text = figures(repository, wanted, wanted["seconds"] + time.monotonic() - began)
        warning = publish(f"modelyard_image_{quote(repository, safe='')}", text)
    return done, warning


def figures(repository: str, wanted: dict[str, t.Any], seconds: float) -> str:
    """What the transfer of an image took, in the text format of Prometheus."""
    values = {
        "bytes_sent": ("Bytes that the last transfer put on the connection.", wanted["bytes_sent"]),
        "bytes_skipped": ("Uncompressed bytes that did not have to travel.", wanted["bytes_skipped"]),
        "duration_seconds": ("How long the last transfer took.", round(seconds, 3)),
        "finished_timestamp_seconds": ("When the last transfer ended.", round(time.time(), 3)),
    }
    labels = {"image": repository}
    return render(
        Metric(f"modelyard_image_transfer_{name}", "gauge", text, [(labels, value)])
        for name, (text, value) in values.items()
    )
