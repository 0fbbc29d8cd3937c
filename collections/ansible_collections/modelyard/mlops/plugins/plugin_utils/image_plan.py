# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What has to happen so that a host has an image: decided before a byte is sent, and told in words."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.modelyard.mlops.plugins.module_utils import image_target
from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import Image, ImageError, shared_layers

from .image_cache import Cache, CachedBlob, Chunk

# What the agent says of a host: see module_utils/image_look.py.
Look = dict[str, t.Any]

# The oldest engine that is supported is 20.10.
_OLDEST_API = (1, 41)

# How the image gets there.
PRESENT = "present"  # it is there, and so is its name
TAG = "tag"  # it is there, and only its name has to be moved
THIN = "thin"  # the engine has the lowest layers
FULL = "full"  # all layers travel


@dataclass(frozen=True)
class Plan:
    """The way of one image to one host.

    :ivar layers: the layers that travel, each once.
    :ivar reason: why all layers travel, when they do.
    """

    name: str
    image: Image
    path: str
    layers: tuple[str, ...]
    reason: str = ""

    @property
    def blobs(self) -> list[str]:
        """What the source has to export: the configuration and the layers that travel, each once."""
        if self.path in (PRESENT, TAG):
            return []
        return [self.image.key, *self.layers]

    def full(self, reason: str) -> Plan:
        """The same with all layers."""
        return Plan(self.name, self.image, FULL, tuple(dict.fromkeys(self.image.layers)), reason)


def plan(name: str, image: Image, look: Look) -> Plan:
    """Decide how `image` gets to the host that was looked at."""
    if image.key in look["present"]:
        here = look["tagged"].get(name) == image.key
        return Plan(name, image, PRESENT if here else TAG, ())
    engine = look["engine"]
    travels = Plan(name, image, THIN, ())
    if engine is None:
        return travels.full("the host has no engine yet")
    if engine["store"] == image_target.PODMAN:
        return travels.full("Podman takes only whole archives")
    if engine["store"] == image_target.CONTAINERD:
        # It knows layers by their content; the classic store knows them by all that lies below, too.
        missing = [layer for layer in image.layers if layer not in look["blobs"]]
    else:
        missing = list(image.layers[shared_layers(image.layers, set(look["chains"])) :])
    if len(missing) == len(image.layers):
        return travels.full("the host has none of its layers")
    return Plan(name, image, THIN, tuple(dict.fromkeys(missing)))


def refuse(look: Look, socket: str) -> None:
    """Say what makes every transfer impossible.

    :raises ImageError: there is such a thing.
    """
    engine = look["engine"]
    if engine is None:
        raise ImageError(
            f"no container engine to bring images to: {look['problem']}. Run the role modelyard.mlops.docker first,"
            f" use become, or name the engine's socket (engine_socket is {socket})"
        )
    if tuple(int(part) for part in engine["api"].split(".")) < _OLDEST_API:
        raise ImageError(f"the engine {engine['version']} is too old: 20.10 or newer is needed")


def for_platform(name: str, images: t.Sequence[Image], look: Look) -> Image:
    """The one of an image's platforms that the host's engine runs; the first where there is no engine yet.

    :raises ImageError: it is not made for that platform.
    """
    engine = look["engine"]
    if engine is None:
        return images[0]
    platform = f"{engine['os']}/{engine['architecture']}"
    for image in images:
        if image.platform == platform:
            return image
    made_for = ", ".join(sorted({image.platform for image in images}))
    raise ImageError(f"{name} is an image for {made_for}, and the host's engine runs {platform}: build it for that too")


@dataclass(frozen=True)
class Need:
    """The bytes that a transfer takes on the host.

    :ivar packed: what travels, and waits in the staging folder.
    :ivar raw: what comes out of it, once in the engine's temporary folder and once for good.
    """

    packed: int
    raw: int


def need(plan: Plan, look: Look, cache: Cache) -> Need:
    """What `plan` takes: exactly where the cache knows the blobs, else as if nothing could be compressed."""
    found = {digest: cache.blob(digest) for digest in plan.blobs}
    known = [blob for blob in found.values() if blob]
    rest = plan.image.size_of([digest for digest, blob in found.items() if blob is None])
    packed = sum(chunk.packed for chunk in missing_chunks(look, known))
    return Need(packed + rest, sum(blob.size for blob in known) + rest)


def refuse_too_little_space(look: Look, name: str, needed: Need) -> None:
    """Compare what a transfer takes with what is free.

    :raises ImageError: it is too little.
    """
    space = look["space"]
    needs = [
        (space["staging"], needed.packed),
        (space["temporary"], needed.raw),
        (space["engine"], needed.raw),
    ]
    for place, _unused in needs:
        need = sum(size for other, size in needs if other["device"] == place["device"])
        if need > place["free"]:
            raise ImageError(
                f"{name} needs {human(need)} at {place['path']}, where {human(place['free'])} are free:"
                f" make space on that file system"
            )


def missing_chunks(look: Look, blobs: t.Iterable[CachedBlob]) -> list[Chunk]:
    """The chunks of `blobs` that do not wait on the host already, in their order."""
    staged = set(look["staged"])
    return list({chunk.id: chunk for blob in blobs for chunk in blob.chunks if chunk.id not in staged}.values())


def skipped(image: Image, blobs: t.Iterable[CachedBlob]) -> int:
    """The uncompressed bytes of `image` that do not travel when `blobs` do."""
    return max(image.size - sum(blob.size for blob in blobs if blob.digest != image.key), 0)


def describe(planned: Plan, look: Look, blobs: t.Sequence[CachedBlob]) -> str:
    """The plan as a person reads it."""
    image = planned.image
    lines = [f"{planned.name} ({image.key}): {_HEADLINES[planned.path]}"]
    if planned.path == TAG:
        lines.append(f"  the name points to {look['tagged'].get(planned.name) or 'nothing'} now")
    if not blobs:
        return "\n".join(lines) + "\n"
    if planned.reason:
        lines[0] += f", since {planned.reason}"
    known = {blob.digest: blob for blob in blobs}
    for layer in image.layers:
        if layer not in planned.layers:
            lines.append(f"  {layer}  is there")
        else:
            lines.append(f"  {layer}  travels: {human(known[layer].size)}, compressed {human(known[layer].packed)}")
    chunks = missing_chunks(look, blobs)
    lines.append(
        f"  to send: {human(sum(chunk.packed for chunk in chunks))} of {human(image.size)}"
        f" ({len(look['staged'])} chunks wait from an earlier transfer)"
    )
    raw = sum(blob.size for blob in blobs)
    packed = sum(blob.packed for blob in blobs)
    space = look["space"]
    places = ((packed, "staging"), (raw, "temporary"), (raw, "engine"))
    lines.append("  disk: " + ", ".join(f"{human(size)} at {space[place]['path']}" for size, place in places))
    return "\n".join(lines) + "\n"


_HEADLINES = {
    PRESENT: "is there",
    TAG: "is there, only its name moves",
    THIN: "only the missing layers travel",
    FULL: "all layers travel",
}


def human(size: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"
