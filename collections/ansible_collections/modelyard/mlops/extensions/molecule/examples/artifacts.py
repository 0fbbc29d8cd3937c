# SPDX-License-Identifier: Apache-2.0
"""Makes the images that the examples bring to hosts: small ones, under the names and of the kinds that they have there.

Usage: artifacts.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import docker

from ansible_collections.modelyard.mlops.extensions.molecule.image_transfer.build import build, parts, write_layout

# Bytes of the one layer below the code.
SIZES = (1000,)


def main(folder: Path) -> None:
    """Make all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("example/shop:1.4.2", "example/shop:build", "example/mlflow:3.4.0"):
        build(name, name, sizes=SIZES)
    saved = docker.from_env().images.get("example/mlflow:3.4.0")
    with (folder / "mlflow.tar").open("wb") as archive:
        archive.writelines(saved.save(named=True))
    # From here on it is only the archive.
    docker.from_env().images.remove("example/mlflow:3.4.0")
    config, layers = parts("train", sizes=SIZES)
    write_layout(folder / "train", "example/train:1.4.2", config, layers)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
