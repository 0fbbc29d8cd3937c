# SPDX-License-Identifier: Apache-2.0
"""Podman, as Debian has it, takes whole archives: what arrives has its key, and arrives once."""

from __future__ import annotations

import json
from pathlib import Path

import docker
from testinfra.host import Host

from ansible_collections.modelyard.mlops.extensions.molecule.image_transfer.build import build
from ansible_collections.modelyard.mlops.extensions.molecule.image_transfer.harness import FIRST, IMAGES, STAGING, run

SOCKET = "/run/podman/podman.sock"


def test_image_has_its_key_and_its_layers(host: Host) -> None:
    here = docker.from_env().images.get(FIRST).attrs
    with host.sudo():
        (there,) = json.loads(host.check_output(f"podman image inspect docker.io/{FIRST}"))
        assert host.file(STAGING).listdir() == []
    assert ("sha256:" + there["Id"], there["RootFS"]["Layers"]) == (here["Id"], here["RootFS"]["Layers"])


def test_code_only_change_travels_whole_and_once(host: Host, tmp_path: Path) -> None:
    name = f"{IMAGES}:two"
    key = build(name, "second commit")
    try:
        done = run(tmp_path, "all", [name], engine_socket=SOCKET)["podman"]
        again = run(tmp_path, "all", [name], engine_socket=SOCKET)["podman"]
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
        names = host.check_output("podman images --format '{{.Repository}}:{{.Tag}}'").split()
    assert "sha256:" + config == key
    assert sorted(names) == [f"docker.io/{FIRST}", f"docker.io/{name}"], "no name of ours is left"
