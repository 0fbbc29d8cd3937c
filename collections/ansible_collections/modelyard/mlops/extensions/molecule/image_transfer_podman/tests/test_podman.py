# SPDX-License-Identifier: Apache-2.0
"""Podman, as Debian has it, takes whole archives: what arrives has its key, and arrives once."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import docker
from testinfra.host import Host

from ansible_collections.modelyard.mlops.extensions.molecule.image_transfer.build import build
from ansible_collections.modelyard.mlops.extensions.molecule.image_transfer.harness import FIRST, IMAGES, STAGING, run
from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import converge

# As converge.yml has them. Beside the staging folder is what is known of the images that were brought.
OPTIONS: dict[str, Any] = {"engine_socket": "/run/podman/podman.sock", "staging": "/var/tmp/staging"}


def names(host: Host) -> list[str]:
    """The names of all images on the host."""
    with host.sudo():
        return sorted(host.check_output("podman images --format '{{.Repository}}:{{.Tag}}'").split())


def test_image_has_its_key_and_its_layers(host: Host) -> None:
    here = docker.from_env().images.get(FIRST).attrs
    with host.sudo():
        (there,) = json.loads(host.check_output(f"podman image inspect docker.io/{FIRST}"))
        assert host.file(OPTIONS["staging"]).listdir() == []
        assert not host.file(STAGING).exists, "another folder was named"
    assert list((Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "other-cache").iterdir())
    assert ("sha256:" + there["Id"], there["RootFS"]["Layers"]) == (here["Id"], here["RootFS"]["Layers"])


def test_code_only_change_travels_whole_and_once(host: Host, tmp_path: Path) -> None:
    name = f"{IMAGES}:two"
    key = build(name, "second commit")
    try:
        done = run(tmp_path, "all", [name], **OPTIONS)["podman"]
        again = run(tmp_path, "all", [name], **OPTIONS)["podman"]
    finally:
        docker.from_env().images.remove(name)
    report = done["images"][name]
    assert (report["key"], report["path"], report["store"]) == (key, "full", "podman")
    assert report["reason"] == "Podman takes only whole archives"
    assert report["bytes_sent"] > 12_000_000
    assert not again["changed"]
    assert again["images"][name]["path"] == "present"
    with host.sudo():
        config = host.check_output(f"podman image inspect --format '{{{{.Id}}}}' docker.io/{name}")
    assert "sha256:" + config == key
    assert names(host) == [f"docker.io/{IMAGES}-saved:two", f"docker.io/{FIRST}", f"docker.io/{name}"], (
        "no name of ours is left"
    )


def test_no_more_stay_than_are_to_be_kept(host: Host) -> None:
    name = f"{IMAGES}:three"
    build(name, "third commit")
    try:
        converge(image_transfer_images=[{"name": FIRST}, {"name": name}])
    finally:
        docker.from_env().images.remove(name)
    assert names(host) == [f"docker.io/{IMAGES}-saved:two", f"docker.io/{FIRST}", f"docker.io/{name}"]
