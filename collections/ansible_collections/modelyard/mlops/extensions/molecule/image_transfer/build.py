# SPDX-License-Identifier: Apache-2.0
"""Builds small images in the controller's engine: layers that do not compress at the bottom, and a layer of code.

Usage: build.py NAME CODE [BASE]    The same texts always give the same image.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import docker

MIB = 1024 * 1024


def parts(code: str, base: str = "base", sizes: Sequence[int] = (12 * MIB,)) -> tuple[bytes, list[bytes]]:
    """The configuration and the layers of an image.

    :param sizes: the bytes of the layers below the code.
    """
    layers = [_tar({"base.bin": random.Random(f"{base} {n}").randbytes(size)}) for n, size in enumerate(sizes)]
    lines = "\n".join(f"{code} {hashlib.sha256(str(number).encode()).hexdigest()}" for number in range(500))
    layers.append(_tar({"app/code.py": lines.encode()}))
    config = {
        "architecture": docker.from_env().version()["Arch"],
        "os": "linux",
        "config": {"Cmd": ["/app/code.py"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
    }
    return json.dumps(config).encode(), layers


def build(name: str, code: str, base: str = "base", sizes: Sequence[int] = (12 * MIB,)) -> str:
    """Load an image into the engine as `name` and return its key."""
    config, layers = parts(code, base, sizes)
    files = {f"{number}.tar": layer for number, layer in enumerate(layers)}
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": list(files)}]
    archive = _tar({**files, "config.json": config, "manifest.json": json.dumps(manifest).encode()})
    docker.from_env().images.load(archive)
    return digest(config)


def write_layout(folder: Path, name: str, config: bytes, layers: Sequence[bytes]) -> None:
    """Write an image as a layout of the OCI image specification, its layers compressed as most tools do."""
    kind = "application/vnd.oci.image"
    compressed = [gzip.compress(layer, 1) for layer in layers]
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "config": _blob(folder, f"{kind}.config.v1+json", config),
        "layers": [_blob(folder, f"{kind}.layer.v1.tar+gzip", layer) for layer in compressed],
    }
    described = _blob(folder, f"{kind}.manifest.v1+json", json.dumps(manifest).encode())
    index = {
        "schemaVersion": 2,
        "manifests": [{**described, "annotations": {"org.opencontainers.image.ref.name": name}}],
    }
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}', encoding="utf-8")


def digest(content: bytes) -> str:
    """The digest of content as the image formats write it."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _blob(folder: Path, kind: str, content: bytes) -> dict[str, str | int]:
    """Store a blob; returns its descriptor."""
    path = folder / "blobs" / digest(content).replace(":", "/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return {"mediaType": kind, "digest": digest(content), "size": len(content)}


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


if __name__ == "__main__":
    name, code, *base = sys.argv[1:]
    print(build(name, code, base[0] if base else "base"))
