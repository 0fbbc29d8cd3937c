# SPDX-License-Identifier: Apache-2.0
"""Build a small image in the controller's engine: a large layer at the bottom, and a layer of code.

Usage: build.py NAME CODE [BASE]    The same texts always give the same image.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import sys
import tarfile

import docker

BASE_SIZE = 12 * 1024 * 1024


def build(name: str, code: str, base: str = "base") -> str:
    """Load the image into the engine as `name` and return its key."""
    lines = "\n".join(f"{code} {hashlib.sha256(str(number).encode()).hexdigest()}" for number in range(500))
    layers = [_tar({"base.bin": random.Random(base).randbytes(BASE_SIZE)}), _tar({"app/code.py": lines.encode()})]
    config = json.dumps(
        {
            "architecture": docker.from_env().version()["Arch"],
            "os": "linux",
            "config": {"Cmd": ["/app/code.py"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer) for layer in layers]},
        }
    ).encode()
    files = {f"{number}.tar": layer for number, layer in enumerate(layers)}
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": list(files)}]
    archive = _tar({**files, "config.json": config, "manifest.json": json.dumps(manifest).encode()})
    docker.from_env().images.load(archive)
    return _digest(config)


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


if __name__ == "__main__":
    print(build(*sys.argv[1:]))
