# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""image_source and image_layer_store: what an image is, and its blobs out of an engine or a file."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import Image, ImageError, chain_ids
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_cache import Cache
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_layer_store import LayerStore
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_source import export
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_source_archive import ArchiveSource
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_source_engine import EngineSource
from ansible_collections.modelyard.mlops.tests.unit.plugins.image_transfer.fakes import (
    CONTAINERD_STATUS,
    FakeEngine,
    config,
    digest,
    tar,
)

LAYERS = [tar({"base": os.urandom(3000), "etc/empty": b""}), tar({"code": b"1"})]
CONFIG = config(LAYERS)
DIGESTS = [digest(CONFIG), *map(digest, LAYERS)]


def lay_out(root: Path) -> None:
    """The folder of a classic store with the image, as overlay2 has it."""
    records = root / "image" / "overlay2"
    (records / "imagedb/content/sha256").mkdir(parents=True)
    (records / "imagedb/content/sha256" / digest(CONFIG)[7:]).write_bytes(CONFIG)
    for number, (chain, layer) in enumerate(zip(chain_ids([digest(layer) for layer in LAYERS]), LAYERS, strict=True)):
        record = records / "layerdb/sha256" / chain[7:]
        record.mkdir(parents=True)
        (record / "cache-id").write_text(f"cache{number}")
        entries, position = [], 0
        with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
            for member in archive:
                end = member.offset_data + member.size
                segment = layer[position : member.offset_data]
                entries.append({"type": 2, "payload": base64.b64encode(segment).decode()})
                entries.append({"type": 1, "name": member.name, "size": member.size, "payload": "AAAAAAAAAAA="})
                position = end
                path = root / "overlay2" / f"cache{number}" / "diff" / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(layer[member.offset_data : end])
        entries.append({"type": 2, "payload": base64.b64encode(layer[position:]).decode()})
        with gzip.open(record / "tar-split.json.gz", "wt") as file:
            file.writelines(json.dumps(entry) + "\n" for entry in entries)


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.add("app:1", LAYERS)
    return engine


def blobs_of(cache: Cache) -> list[str]:
    return [blob for blob in DIGESTS if cache.blob(blob)]


def test_engine_describes_without_exporting(cache: Cache, engine: FakeEngine) -> None:
    images = EngineSource("app:1", cache, engine).describe()
    sizes = tuple(map(len, LAYERS))
    assert images == [Image(digest(CONFIG), tuple(map(digest, LAYERS)), "linux", "amd64", 1000, sizes)]
    assert engine.exports == 0


def test_unknown_image_is_named(cache: Cache, engine: FakeEngine) -> None:
    with pytest.raises(ImageError, match="has no image app:2"):
        EngineSource("app:2", cache, engine).describe()


def test_layer_is_put_together_byte_by_byte(tmp_path: Path) -> None:
    lay_out(tmp_path)
    store = LayerStore(tmp_path)
    layers = [digest(layer) for layer in LAYERS]
    assert [b"".join(store.layer(layers, layer)) for layer in layers] == LAYERS
    assert store.config(digest(CONFIG)) == CONFIG


def test_single_layers_come_out_of_the_engines_folder(cache: Cache, engine: FakeEngine, tmp_path: Path) -> None:
    lay_out(tmp_path)
    engine.info["DockerRootDir"] = str(tmp_path)
    source = EngineSource("app:1", cache, engine)
    export(source, cache, source.describe()[0], [DIGESTS[0], DIGESTS[2]])
    assert blobs_of(cache) == [DIGESTS[0], DIGESTS[2]]
    assert engine.exports == 0


def test_other_content_in_that_folder_is_noticed(cache: Cache, engine: FakeEngine, tmp_path: Path) -> None:
    lay_out(tmp_path)
    (tmp_path / "overlay2/cache1/diff/code").write_bytes(b"2")
    engine.info["DockerRootDir"] = str(tmp_path)
    source = EngineSource("app:1", cache, engine)
    export(source, cache, source.describe()[0], DIGESTS)
    assert blobs_of(cache) == DIGESTS
    assert engine.exports == 1


def test_without_that_folder_the_engine_saves_once(cache: Cache, engine: FakeEngine) -> None:
    source = EngineSource("app:1", cache, engine)
    (image,) = source.describe()
    export(source, cache, image, DIGESTS)
    export(source, cache, image, DIGESTS)
    assert blobs_of(cache) == DIGESTS
    assert engine.exports == 1


def test_image_that_goes_meanwhile_is_named(cache: Cache, engine: FakeEngine) -> None:
    source = EngineSource("app:1", cache, engine)
    (image,) = source.describe()
    engine.remove("app:1")
    with pytest.raises(ImageError, match="app:1"):
        export(source, cache, image, DIGESTS)


def test_containerd_store_is_asked_for_the_key_once(cache: Cache, engine: FakeEngine) -> None:
    engine.info["DriverStatus"] = CONTAINERD_STATUS
    manifest = "sha256:" + "e" * 64
    engine.images[manifest] = engine.images.pop(DIGESTS[0])
    engine.tags["app:1"] = manifest
    for _unused in range(2):
        source = EngineSource("app:1", cache, engine)
        assert source.describe()[0].key == DIGESTS[0]
    export(source, cache, source.describe()[0], DIGESTS)
    assert engine.exports == 1


def save(path: Path, layers: list[bytes], *names: str, links: bool = False) -> None:
    """An archive with one image per name; the images differ in their command."""
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:

        def add(name: str, content: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

        for number, layer in enumerate(layers):
            add(f"real{number}/layer.tar", layer)
            if links:
                link = tarfile.TarInfo(f"{number}/layer.tar")
                link.type, link.linkname = tarfile.SYMTYPE, f"../real{number}/layer.tar"
                archive.addfile(link)
        manifest = []
        for name in names:
            add(f"{name}.json", config(LAYERS, command=name))
            paths = [f"{'' if links else 'real'}{number}/layer.tar" for number in range(len(layers))]
            manifest.append({"Config": f"{name}.json", "RepoTags": [name], "Layers": paths})
        add("manifest.json", json.dumps(manifest).encode())


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
@pytest.mark.parametrize("links", [False, True])
@pytest.mark.parametrize("inner", [bytes, gzip.compress])
def test_archive_gives_its_blobs(cache: Cache, tmp_path: Path, name: str, links: bool, inner: type[bytes]) -> None:
    save(tmp_path / name, [inner(layer) for layer in LAYERS], "app:1", "app:2", links=links)
    source = ArchiveSource(str(tmp_path / name), "app:2")
    (image,) = source.describe()
    assert image.key == digest(config(LAYERS, command="app:2"))
    export(source, cache, image, [image.key, *image.layers])
    assert [cache.blob(blob) is not None for blob in (image.key, *image.layers)] == [True] * 3


def test_only_image_of_an_archive_needs_no_name(tmp_path: Path) -> None:
    save(tmp_path / "a.tar", LAYERS, "app:1")
    assert ArchiveSource(str(tmp_path / "a.tar"), "other:1").describe()[0].layers == tuple(map(digest, LAYERS))


def test_archive_says_which_images_it_has(tmp_path: Path) -> None:
    save(tmp_path / "a.tar", LAYERS, "app:1", "app:2")
    with pytest.raises(ImageError, match="no image app:3; it has app:1, app:2"):
        ArchiveSource(str(tmp_path / "a.tar"), "app:3").describe()


@pytest.mark.parametrize("content", [None, b"", b"text", tar({"a": b""})])
def test_what_is_no_archive_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.tar is no archive"):
        ArchiveSource(str(tmp_path / "a.tar"), "app:1").describe()


def test_damaged_layer_in_an_archive_is_named(cache: Cache, tmp_path: Path) -> None:
    save(tmp_path / "a.tar", [LAYERS[0], tar({"code": b"2"})], "app:1")
    source = ArchiveSource(str(tmp_path / "a.tar"), "app:1")
    (image,) = source.describe()
    with pytest.raises(ImageError, match=r"real1/layer.tar in .* is damaged"):
        export(source, cache, image, [image.key, *image.layers])
