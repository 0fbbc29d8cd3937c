# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""image_archive: the stream is what `docker load` reads."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.image_archive import Blob, archive
from ansible_collections.modelyard.mlops.tests.unit.plugins.image_transfer.fakes import FakeEngine, config, digest, tar

LAYERS = [tar({"base": os.urandom(3000)}), tar({"code": b"1"})]
CONFIG = config(LAYERS)


def cut(content: bytes, size: int = 1000) -> tuple[Blob, dict[str, bytes]]:
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    chunks = {hashlib.sha256(piece).hexdigest(): piece for piece in pieces}
    return Blob(digest(content), len(content), tuple(hashlib.sha256(p).hexdigest() for p in pieces)), chunks


def assemble(blobs: list[bytes], layers: Sequence[bytes] = tuple(LAYERS)) -> bytes:
    known: dict[str, bytes] = {}
    parts = []
    for content in (config(layers), *blobs):
        blob, chunks = cut(content)
        known.update(chunks)
        parts.append(blob)
    read = functools.partial(map, known.__getitem__)
    return b"".join(archive(parts[0], [digest(layer) for layer in layers], parts[1:], "arriving:1", read))


def test_whole_archive_has_all_that_the_manifest_names() -> None:
    with tarfile.open(fileobj=io.BytesIO(assemble(LAYERS))) as opened:
        files = {member.name: opened.extractfile(member).read() for member in opened}  # type: ignore[union-attr]
    (entry,) = json.loads(files["manifest.json"])
    assert files[entry["Config"]] == CONFIG
    assert [files[layer] for layer in entry["Layers"]] == LAYERS
    assert entry["RepoTags"] == ["arriving:1"]


def test_engine_loads_a_whole_archive() -> None:
    engine = FakeEngine()
    assert b"error" not in engine.raw("POST", "/images/load", [assemble(LAYERS)]).read()
    assert list(engine.images) == [digest(CONFIG)]


def test_engine_loads_a_thin_archive_on_top_of_what_it_has() -> None:
    engine = FakeEngine()
    engine.add("old:1", [LAYERS[0], tar({"code": b"0"})])
    assert b"error" not in engine.raw("POST", "/images/load", [assemble(LAYERS[1:])]).read()
    assert digest(CONFIG) in engine.images


def test_engine_refuses_a_thin_archive_without_what_is_below() -> None:
    engine = FakeEngine()
    assert b"no such file" in engine.raw("POST", "/images/load", [assemble(LAYERS[1:])]).read()
    assert engine.images == {}


def test_layer_that_appears_twice_is_in_the_archive_once() -> None:
    layers = [LAYERS[1], LAYERS[0], LAYERS[1]]
    stream = assemble(layers, layers)
    with tarfile.open(fileobj=io.BytesIO(stream)) as opened:
        assert len(opened.getnames()) == len(set(opened.getnames())) == 4
    engine = FakeEngine()
    assert b"error" not in engine.raw("POST", "/images/load", [stream]).read()


@pytest.mark.parametrize("size", [511, 512, 513])
def test_members_are_padded_to_blocks(size: int) -> None:
    assert len(assemble([os.urandom(size)])) % 512 == 0
