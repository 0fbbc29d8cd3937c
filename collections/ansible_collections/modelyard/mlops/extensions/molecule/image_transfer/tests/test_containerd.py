# SPDX-License-Identifier: Apache-2.0
"""What is written for engines with the containerd store, imported by the containerd that Debian's Docker runs on."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest
from testinfra.host import Host

from ansible_collections.modelyard.mlops.extensions.molecule.image_transfer.build import MIB, digest, parts
from ansible_collections.modelyard.mlops.extensions.molecule.image_transfer.harness import upload
from ansible_collections.modelyard.mlops.plugins.module_utils.image_archive import Blob
from ansible_collections.modelyard.mlops.plugins.module_utils.image_layout import layout, manifest

# Overlays do not stack, and this store is on one.
IMPORT = "ctr --namespace {} images import --snapshotter native {}"


@pytest.fixture
def namespace() -> str:
    """A store of its own."""
    return f"transfer-{uuid.uuid4().hex[:8]}"


def archive(file: Path, name: str, config: bytes, layers: Sequence[bytes], sent: int) -> str:
    """Write the archive with the `sent` uppermost layers; returns the ID that the image will have."""
    contents = {digest(content): content for content in (config, *layers)}
    digests = [digest(layer) for layer in layers]
    sizes = {layer: len(contents[layer]) for layer in digests}
    blobs = {one: Blob(one, len(content), (one,)) for one, content in contents.items()}
    pieces = layout(
        blobs[digest(config)],
        digests,
        sizes,
        [blobs[layer] for layer in digests[-sent:]],
        name,
        lambda chunks: (contents[chunk] for chunk in chunks),
    )
    file.write_bytes(b"".join(pieces))
    return digest(manifest(blobs[digest(config)], digests, sizes))


def test_import_of_what_is_missing(first: Host, tmp_path: Path, namespace: str) -> None:
    base = str(uuid.uuid4())
    whole, thin = tmp_path / "whole.tar", tmp_path / "thin.tar"
    archive(whole, "app:one", *parts("one", base, [MIB]), sent=2)
    image = archive(thin, "app:two", *parts("two", base, [MIB]), sent=1)
    for file in (whole, thin):
        upload("first", file, f"/tmp/{file.name}")
    with first.sudo():
        first.check_output(IMPORT.format(namespace, "/tmp/whole.tar"))
        first.check_output(IMPORT.format(namespace, "/tmp/thin.tar"))
        images = first.check_output(f"ctr --namespace {namespace} images check --snapshotter native")
    line = next(line for line in images.splitlines() if "app:two" in line)
    assert image in line
    assert "complete (3/3)" in line


def test_import_is_refused_where_the_rest_is_not(first: Host, tmp_path: Path, namespace: str) -> None:
    thin = tmp_path / "thin.tar"
    archive(thin, "app:two", *parts("two", str(uuid.uuid4()), [MIB]), sent=1)
    upload("first", thin, "/tmp/thin.tar")
    with first.sudo():
        refused = first.run(IMPORT.format(namespace, "/tmp/thin.tar"))
        images = first.check_output(f"ctr --namespace {namespace} images check --snapshotter native")
    assert refused.rc != 0
    assert "not found" in refused.stderr
    # Its record stays, which is why nothing is believed to be there that has not been verified.
    assert "incomplete" in images
