# SPDX-License-Identifier: Apache-2.0
"""How large an image is, and its last layer, which is what a change of the code alone sends."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import zlib


def sizes(reference: str) -> dict[str, float]:
    """Return the sizes of an image in the local engine: whole in MB, its last layer in kB, as a tar and compressed."""
    whole = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{.Size}}", reference], capture_output=True, text=True, check=True
    ).stdout
    saved = subprocess.run(["docker", "save", reference], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        layer = archive.extractfile(json.load(manifest)[0]["Layers"][-1])
        assert layer is not None
        content = layer.read()
    return {
        "image MB": int(whole) / 1e6,
        "code layer kB": len(content) / 1e3,
        "code layer compressed kB": len(zlib.compress(content)) / 1e3,
    }
