# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What identifies a container image on every engine and store.

The key of an image is the digest of its configuration, which names all its layers by the digest of
their uncompressed content (`rootfs.diff_ids`). An engine's own image ID is the same thing in the
classic store, and something else in the containerd store, so nothing here trusts it.
"""

from __future__ import annotations

import hashlib
import json
import re
import typing as t

_TAGGED = re.compile(r"(?P<repository>[a-z0-9][a-z0-9._/:-]*[a-z0-9]|[a-z0-9]):(?P<tag>\w[\w.-]{0,127})", re.ASCII)

# A digest, or an engine's own ID of an image.
_FIXED = re.compile(r"[^@\s]+@[a-z0-9]+:[0-9a-f]{64,}|(sha256:)?[0-9a-f]{64}")


class ImageError(Exception):
    """An image, or a reference to one, is not what it has to be; the message says what to do."""


class Image(t.NamedTuple):
    """An image as its source describes it.

    :ivar key: `sha256:` and the digest of the configuration.
    :ivar layers: the digests of the uncompressed layers, the lowest first.
    :ivar size: bytes of the uncompressed image, as far as the source knows it.
    :ivar sizes: bytes of each layer, as far as the source knows them; empty when it does not.
    """

    key: str
    layers: tuple[str, ...]
    os: str
    architecture: str
    size: int
    sizes: tuple[int, ...] = ()

    @property
    def platform(self) -> str:
        """Operating system and architecture, as people write them."""
        return f"{self.os}/{self.architecture}"

    def size_of(self, blobs: t.Collection[str]) -> int:
        """About how many bytes the layers among `blobs` have."""
        if not self.sizes:
            return self.size if blobs else 0
        return sum(size for layer, size in dict(zip(self.layers, self.sizes)).items() if layer in blobs)

    @classmethod
    def from_config(cls, config: bytes, sizes: tuple[int, ...] = ()) -> Image:
        """The image that the JSON text of an image configuration describes."""
        try:
            fields = json.loads(config)
            layers = tuple(fields["rootfs"]["diff_ids"])
            return cls(digest(config), layers, fields["os"], fields["architecture"], sum(sizes), sizes)
        except (ValueError, KeyError, TypeError) as error:
            raise ImageError(f"this is no image configuration ({error!r}): {config[:80]!r}") from error


def digest(content: bytes) -> str:
    """The digest of `content` as the image formats write it."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def chain_ids(layers: t.Sequence[str]) -> list[str]:
    """For each layer the identity of it together with all that lie below, as the OCI image specification defines it.

    It is what the classic store looks up: a layer is known only on top of the same layers.
    """
    chain: list[str] = []
    for layer in layers:
        chain.append(digest(f"{chain[-1]} {layer}".encode()) if chain else layer)
    return chain


def shared_layers(layers: t.Sequence[str], known_chains: t.Collection[str]) -> int:
    """How many of `layers`, from the lowest up, a store which knows `known_chains` already has."""
    count = 0
    for position, chain in enumerate(chain_ids(layers), start=1):
        if chain in known_chains:
            count = position
    return count


def familiar(name: str) -> str:
    """The name without the registry that people leave out; Docker leaves it out too, and Podman does not."""
    for prefix in ("docker.io/library/", "docker.io/", "localhost/"):
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


def split_reference(reference: str) -> tuple[str, str]:
    """Repository and tag of `repository:tag`.

    :raises ImageError: there is no tag, or it is no tag that a deployment can stand on.
    """
    match = _TAGGED.fullmatch(reference)
    if match is None:
        raise ImageError(f"'{reference}' does not name an image with its tag: write repository:tag, in lower case")
    if match["tag"] == "latest":
        raise ImageError(f"'{reference}' says latest, which is another image tomorrow: give a tag of its own")
    return match["repository"], match["tag"]


def check_fixed(reference: str) -> None:
    """Refuse a reference that may be another image tomorrow: it is no digest, no ID, and has no tag of its own.

    :raises ImageError: it is such a reference.
    """
    if not _FIXED.fullmatch(reference):
        split_reference(reference)
