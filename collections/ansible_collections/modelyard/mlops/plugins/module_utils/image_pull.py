# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Has the host's engine pull an image by its digest, which it proves; then points the name to it.

Credentials go to the engine with this one request: nothing logs in, and no file keeps them.
"""

from __future__ import annotations

import re
import time
import typing as t

from .image_key import ImageError, split_reference
from .image_records import Record
from .image_target import CONTAINERD, Target

_BY_DIGEST = re.compile(r"(?P<registry>[\w.-]+(:\d+)?)/(?P<repository>[a-z0-9._/-]+)@sha256:[0-9a-f]{64}", re.ASCII)


def pull(
    target: Target, name: str, reference: str, credentials: tuple[str, str] | None, dry: bool = False
) -> dict[str, t.Any]:
    """Have the image at `reference` under `name`.

    :returns: its key (empty when it would be pulled), its bytes, how many layers it has, the engine's store, whether
        something changed, and the path: `pull`, `tag` when only the name moves, or `present`.
    :raises ImageError: it is not what was asked for, or the engine cannot tell.
    """
    repository, tag = split_reference(name)
    registry = registry_of(reference)
    if target.store == CONTAINERD:
        raise ImageError(
            f"{name}: an engine with the containerd store does not tell the key of what it pulls: bring the image from"
            " the controller, as an OCI layout or from its engine"
        )
    image = target.inspect(reference)
    path = "present" if image else "pull"
    if image is None and not dry:
        target.pull(reference, registry, credentials)
        image = target.inspect(reference)
        if image is None:
            raise ImageError(f"{name}: the engine has pulled {reference} and has no image of it")
        target.records.put(Record(image["Id"], target.key_of(image), time.time()))
    if image is None:
        return unpulled(target.store)
    platform = (image["Os"], image["Architecture"])
    if platform != (target.os, target.architecture):
        raise ImageError(
            f"{name}: {reference} is for {'/'.join(platform)}, and the engine runs {target.os}/{target.architecture}"
        )
    here = target.inspect(name)
    moved = here is None or here["Id"] != image["Id"]
    if moved:
        path = "tag" if path == "present" else path
        if not dry:
            target.tag(image, repository, tag)
    if not dry:
        target.records.name(image["Id"], name)
    return {
        "changed": moved or path == "pull",
        "path": path,
        "key": target.key_of(image),
        "store": target.store,
        "size": image["Size"],
        "layers": len(image["RootFS"]["Layers"]),
    }


def unpulled(store: str) -> dict[str, t.Any]:
    """The answer of a preview, when the image would be pulled."""
    return {"changed": True, "path": "pull", "key": "", "store": store, "size": 0, "layers": 0}


def registry_of(reference: str) -> str:
    """The registry that `reference` names.

    :raises ImageError: it names none, or no digest.
    """
    match = _BY_DIGEST.fullmatch(reference)
    if match is None:
        raise ImageError(
            f"'{reference}' does not say which image to pull: write registry/repository@sha256:DIGEST, since a tag is"
            " another image tomorrow"
        )
    return match["registry"]
