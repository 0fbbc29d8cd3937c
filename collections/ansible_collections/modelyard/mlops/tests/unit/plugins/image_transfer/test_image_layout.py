# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""image_layout: the archive is what the OCI image specification says, with all layers and without some."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import re
import tarfile
import typing as t

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.image_archive import Blob
from ansible_collections.modelyard.mlops.plugins.module_utils.image_layout import layout, manifest
from ansible_collections.modelyard.mlops.tests.unit.plugins.image_transfer.fakes import config, digest, tar

LAYERS = [tar({"base": bytes(range(256)) * 100}), tar({"code": b"1"}), tar({"top": b"2"})]
CONFIG = config(LAYERS)
DIGESTS = [digest(layer) for layer in LAYERS]
SIZES = dict(zip(DIGESTS, map(len, LAYERS), strict=True))

# image-spec 1.1: media-types.md, descriptor.md and image-layout.md.
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MEDIA_TYPES = {"config": "application/vnd.oci.image.config.v1+json", "layer": "application/vnd.oci.image.layer.v1.tar"}
DIGEST = re.compile(r"sha256:[a-f0-9]{64}")
REF_NAME = re.compile(r"[A-Za-z0-9]+([-._:@+]|--)?[A-Za-z0-9]*([/][A-Za-z0-9]+)*")


def blob(content: bytes) -> tuple[Blob, bytes]:
    return Blob(digest(content), len(content), (hashlib.sha256(content).hexdigest(),)), content


def assemble(*sent: bytes) -> dict[str, bytes]:
    """The files of the archive with only the layers `sent`."""
    blobs = [blob(content) for content in (CONFIG, *sent)]
    known = {entry.chunks[0]: content for entry, content in blobs}
    read = functools.partial(map, known.__getitem__)
    parts = [entry for entry, _unused in blobs]
    stream = b"".join(layout(parts[0], DIGESTS, SIZES, parts[1:], "arriving:0123abcd", read))
    assert len(stream) % tarfile.BLOCKSIZE == 0
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        assert archive.getnames() == list(dict.fromkeys(archive.getnames()))
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def follow(files: dict[str, bytes], descriptor: dict[str, t.Any]) -> bytes:
    """What a descriptor points to, which has to be what it says."""
    assert DIGEST.fullmatch(descriptor["digest"])
    content = files["blobs/" + descriptor["digest"].replace(":", "/")]
    assert (digest(content), len(content)) == (descriptor["digest"], descriptor["size"])
    return content


def test_whole_layout_is_as_specified() -> None:
    files = assemble(*LAYERS)
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(files["index.json"])
    assert (index["schemaVersion"], index["mediaType"]) == (2, "application/vnd.oci.image.index.v1+json")
    (entry,) = index["manifests"]
    assert entry["mediaType"] == MANIFEST
    assert REF_NAME.fullmatch(entry["annotations"]["org.opencontainers.image.ref.name"])
    assert entry["annotations"]["io.containerd.image.name"] == "docker.io/library/arriving:0123abcd"
    found = json.loads(follow(files, entry))
    assert (found["schemaVersion"], found["mediaType"]) == (2, MANIFEST)
    assert found["config"]["mediaType"] == MEDIA_TYPES["config"]
    assert follow(files, found["config"]) == CONFIG
    assert {layer["mediaType"] for layer in found["layers"]} == {MEDIA_TYPES["layer"]}
    assert [follow(files, layer) for layer in found["layers"]] == LAYERS
    assert [layer["digest"] for layer in found["layers"]] == json.loads(CONFIG)["rootfs"]["diff_ids"]


@pytest.mark.parametrize("sent", [LAYERS[1:], LAYERS[:1], [LAYERS[1]], []])
def test_layers_that_are_there_are_only_named(sent: list[bytes]) -> None:
    whole, thin = assemble(*LAYERS), assemble(*sent)
    left_out = {"blobs/" + digest(layer).replace(":", "/") for layer in LAYERS if layer not in sent}
    assert set(whole) - set(thin) == left_out
    assert thin.items() <= whole.items()


def test_manifest_and_so_the_id_follows_from_the_configuration() -> None:
    content = manifest(blob(CONFIG)[0], DIGESTS, SIZES)
    assert content == manifest(blob(CONFIG)[0], DIGESTS, dict(reversed(SIZES.items())))
    assert "blobs/" + digest(content).replace(":", "/") in assemble()


def test_layer_that_appears_twice_is_in_the_layout_once() -> None:
    layers = [LAYERS[0], LAYERS[1], LAYERS[0]]
    config_blob, text = blob(config(layers))
    parts = [blob(layer)[0] for layer in layers]
    known = {part.chunks[0]: layer for part, layer in zip(parts, layers, strict=True)} | {config_blob.chunks[0]: text}
    read = functools.partial(map, known.__getitem__)
    stream = b"".join(layout(config_blob, [part.digest for part in parts], SIZES, parts, "a:1", read))
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        assert len(archive.getnames()) == 6
