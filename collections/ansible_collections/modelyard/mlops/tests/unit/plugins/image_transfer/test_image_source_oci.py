# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""image_source_oci and image_inflate: layouts as the OCI image specification has them, without an engine."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils import image_codec, image_pack
from ansible_collections.modelyard.mlops.plugins.module_utils.image_codec import CodecError
from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import ImageError
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_cache import Cache
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_inflate import plain
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_source import export
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_source_oci import OciSource
from ansible_collections.modelyard.mlops.tests.unit.plugins.image_transfer.fakes import config, digest, tar

LAYERS = [tar({"base": os.urandom(300_000)}), tar({"code": b"1" * 3_000_000})]
OCI = "application/vnd.oci.image."
Compress = t.Callable[[bytes], bytes]


def zstd(content: bytes) -> bytes:
    return image_codec.compress(image_codec.ZSTD, content, False)


def members(content: bytes) -> bytes:
    """Several gzip members in a row."""
    return b"".join(gzip.compress(content[start : start + 700_000]) for start in range(0, len(content), 700_000))


def frames(content: bytes) -> bytes:
    """Several zstd frames in a row, the first to be skipped."""
    parts = [zstd(content[start : start + 700_000]) for start in range(0, len(content), 700_000)]
    return b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc" + b"".join(parts)


class Layout:
    """A layout that is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "blobs/sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(self, content: bytes, kind: str, **more: t.Any) -> dict[str, t.Any]:
        (self.path / "blobs/sha256" / digest(content)[7:]).write_bytes(content)
        return {"mediaType": OCI + kind, "digest": digest(content), "size": len(content), **more}

    def image(self, compress: Compress = bytes, architecture: str = "amd64", **more: t.Any) -> dict[str, t.Any]:
        manifest = {
            "schemaVersion": 2,
            "config": self.blob(config(LAYERS, architecture), "config.v1+json"),
            "layers": [self.blob(compress(layer), "layer.v1.tar") for layer in LAYERS],
        }
        return self.blob(json.dumps(manifest).encode(), "manifest.v1+json", **more)

    def index(self, *entries: dict[str, t.Any]) -> None:
        (self.path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))

    def nested(self, *entries: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
        return self.blob(json.dumps({"schemaVersion": 2, "manifests": entries}).encode(), "index.v1+json", **more)


def named(name: str) -> dict[str, t.Any]:
    return {"annotations": {"org.opencontainers.image.ref.name": name}}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


def export_all(source: OciSource, cache: Cache) -> None:
    for image in source.describe():
        export(source, cache, image, image.layers)


def key(architecture: str = "amd64") -> str:
    return digest(config(LAYERS, architecture))


@pytest.mark.parametrize("kind", ["folder", "tar", "tar.gz"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, members, zstd, frames])
def test_layers_come_out_as_the_configuration_names_them(
    cache: Cache, layout: Layout, kind: str, compress: Compress
) -> None:
    layout.index(layout.image(compress))
    path = layout.path
    if kind != "folder":
        path = layout.path.with_suffix("." + kind)
        with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as archive:
            archive.add(layout.path, ".")
    source = OciSource(str(path), "app:1")
    (image,) = source.describe()
    assert (image.key, image.layers, image.platform) == (key(), tuple(map(digest, LAYERS)), "linux/amd64")
    export(source, cache, image, [image.key, *image.layers])
    blob = cache.blob(image.layers[1])
    assert blob
    assert b"".join(image_pack.unpack(c.id, c.codec, cache.read(c), c.size) for c in blob.chunks) == LAYERS[1]


def test_every_platform_is_told_and_attestations_are_not(layout: Layout) -> None:
    attestation = layout.image(platform={"os": "unknown", "architecture": "unknown"})
    index = layout.nested(layout.image(architecture="arm64"), layout.image(), attestation)
    layout.index({**index, **named("app:1")})
    assert [image.key for image in OciSource(str(layout.path), "app:1").describe()] == [key("arm64"), key()]


@pytest.mark.parametrize("name", ["app:2", "docker.io/library/app:2", "2"])
def test_one_of_several_images_is_found_by_its_name(layout: Layout, name: str) -> None:
    layout.index(layout.image(**named("app:1")), layout.image(architecture="arm64", **named(name)))
    assert [image.key for image in OciSource(str(layout.path), "app:2").describe()] == [key("arm64")]
    with pytest.raises(ImageError, match=f"has no image app:3; it has .*{name}"):
        OciSource(str(layout.path), "app:3").describe()


def test_the_only_image_may_be_called_otherwise(layout: Layout) -> None:
    layout.index(layout.image(**named("built")))
    assert [image.key for image in OciSource(str(layout.path), "app:3").describe()] == [key()]


def test_layer_with_another_content_is_named(cache: Cache, layout: Layout) -> None:
    layout.index(layout.image(lambda layer: gzip.compress(layer + b"more")))
    source = OciSource(str(layout.path), "app:1")
    (image,) = source.describe()
    with pytest.raises(ImageError, match=r"blob sha256:.* is damaged: it is sha256"):
        export(source, cache, image, image.layers)


@pytest.mark.parametrize("what", ["manifest", "config", "layer", "index", "version", "none"])
def test_damaged_layout_is_named(cache: Cache, layout: Layout, what: str) -> None:
    manifest = layout.image()
    layout.index(manifest)
    blobs = layout.path / "blobs/sha256"
    files = {
        "manifest": blobs / manifest["digest"][7:],
        "config": blobs / key()[7:],
        "index": layout.path / "index.json",
    }
    if what in files:
        files[what].write_bytes(files[what].read_bytes() + b" x")
    elif what == "layer":
        (blobs / digest(LAYERS[0])[7:]).unlink()
    elif what == "version":
        (layout.path / "oci-layout").write_text('{"imageLayoutVersion": "9.0.0"}')
    else:
        (layout.path / "oci-layout").unlink()
    source = OciSource(str(layout.path), "app:1")
    with pytest.raises(ImageError, match=r"damaged|version 9|no OCI layout"):
        export_all(source, cache)


@pytest.mark.parametrize("compress", [gzip.compress, members, zstd, frames])
def test_what_is_cut_off_or_garbage_is_noticed(compress: Compress) -> None:
    packed = compress(LAYERS[1])
    with pytest.raises(CodecError):
        list(plain(iter([packed[:-3]])))
    with pytest.raises(CodecError):
        list(plain(iter([packed[:10], b"garbage" * 1000])))


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
@pytest.mark.parametrize("piece", [100, 700, 10**7])
def test_little_that_becomes_much_is_handed_on_in_pieces(compress: Compress, piece: int) -> None:
    packed = compress(bytes(5_000_000))
    pieces = list(plain(packed[start : start + piece] for start in range(0, len(packed), piece)))
    assert max(map(len, pieces)) <= 1024 * 1024
    assert b"".join(pieces) == bytes(5_000_000)
