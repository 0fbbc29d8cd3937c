# SPDX-License-Identifier: Apache-2.0
"""Puts the collections of requirements.yml into place, from Galaxy or out of PyPI's `ansible` wheel."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import yaml

from .errors import DeliveryError
from .site import reaches

GALAXY = "https://galaxy.ansible.com/api/"
WHEEL_PIN = Path(__file__).with_name("ansible-wheel.txt")


def wanted(requirements: Path) -> dict[str, str]:
    """Return the collections that `requirements` pins, name to exact version."""
    return {entry["name"]: entry["version"] for entry in yaml.safe_load(requirements.read_text())["collections"]}


def missing(wanted_versions: dict[str, str], path: Path) -> dict[str, str]:
    """Return those of `wanted_versions` that are not under `path` at their version."""
    return {name: version for name, version in wanted_versions.items() if _installed(name, path) != version}


def install(requirements: Path, path: Path) -> str:
    """Install what is missing under `path`; return where it came from, if anything was missing, for the log.

    :raises DeliveryError: neither Galaxy nor the wheel gave the pinned versions.
    """
    absent = missing(wanted(requirements), path)
    if not absent:
        return "nothing to do"
    path.mkdir(parents=True, exist_ok=True)
    if reaches(GALAXY):
        galaxy = Path(sys.executable).with_name("ansible-galaxy")
        subprocess.run(
            [galaxy, "collection", "install", "--force", "-r", requirements, "-p", path], check=True, text=True
        )
        return "from Galaxy"
    with tempfile.TemporaryDirectory() as folder:
        unpack(_download_wheel(Path(folder)), absent, path)
    return "from the ansible wheel (Galaxy does not answer)"


def unpack(wheel: Path, versions: dict[str, str], path: Path) -> None:
    """Unpack the collections named in `versions` out of `wheel` into `path`/ansible_collections.

    :raises DeliveryError: the wheel holds another version than the one wanted.
    """
    with zipfile.ZipFile(wheel) as archive:
        for name, version in versions.items():
            folder = "ansible_collections/" + name.replace(".", "/") + "/"
            found = json.loads(archive.read(folder + "MANIFEST.json"))["collection_info"]["version"]
            if found != version:
                raise DeliveryError(
                    f"requirements.yml wants {name} {version}, {wheel.name} holds {found}: give both the same version"
                )
            archive.extractall(path, [entry for entry in archive.namelist() if entry.startswith(folder)])


def _installed(name: str, path: Path) -> str | None:
    manifest = path / "ansible_collections" / name.replace(".", "/") / "MANIFEST.json"
    if not manifest.exists():
        return None
    return str(json.loads(manifest.read_text())["collection_info"]["version"])


def _download_wheel(folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--dest", str(folder)]
    done = subprocess.run([*pip, "-r", str(WHEEL_PIN)], capture_output=True, text=True)
    if done.returncode:
        raise DeliveryError(
            "neither Galaxy nor PyPI gave the Ansible collections of requirements.yml; pip said:\n"
            + done.stderr.strip()
        )
    return next(folder.glob("ansible-*.whl"))


if __name__ == "__main__":
    print("▸ collections:", install(Path("requirements.yml"), Path(".ansible/collections")))
