# SPDX-License-Identifier: Apache-2.0
"""Real engines on both sides, over SSH: what arrives is the image, and only what is missing travels."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import docker
from testinfra.host import Host

from ansible_collections.modelyard.mlops.extensions.molecule.image_transfer.build import build
from ansible_collections.modelyard.mlops.extensions.molecule.image_transfer.harness import (
    FIRST,
    IMAGES,
    STAGING,
    inspect,
    run,
    upload,
)
from ansible_collections.modelyard.mlops.plugins.module_utils import image_pack
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_cache import Cache


def cache_of_the_run() -> Cache:
    return Cache(Path(os.environ["XDG_CACHE_HOME"]) / "modelyard/images", 10**9, 10**6)


def test_image_has_its_key_and_its_layers(host: Host) -> None:
    here = docker.from_env().images.get(FIRST).attrs
    there = inspect(host, FIRST)
    assert (there["Id"], there["RootFS"]) == (here["Id"], here["RootFS"])


def test_nothing_waits_and_no_name_of_ours_is_left(host: Host) -> None:
    with host.sudo():
        assert host.file(STAGING).listdir() == []
        names = host.check_output("docker images --format '{{.Repository}}:{{.Tag}}'").split()
    assert FIRST in names
    assert not [name for name in names if name.startswith("modelyard-arriving")]


def test_code_only_change(first: Host, tmp_path: Path) -> None:
    name = f"{IMAGES}:two"
    key = build(name, f"commit {uuid.uuid4()}")
    try:
        planned = run(tmp_path, "all", [name], check=True)
        done = run(tmp_path, "all", [name])
        again = run(tmp_path, "all", [name])
    finally:
        docker.from_env().images.remove(name)
    # The preview has exported what both hosts miss, for both.
    exported = [planned[name]["images"][f"{IMAGES}:two"]["bytes_exported"] for name in ("first", "second")]
    assert min(exported) == 0 < max(exported) < 100_000
    for host_name in ("first", "second"):
        plan, report = planned[host_name]["images"][name], done[host_name]["images"][name]
        assert "only the missing layers travel" in planned[host_name]["diff"]["prepared"]
        assert (report["key"], report["path"], report["layers_sent"]) == (key, "thin", 1)
        assert report["bytes_exported"] == 0
        # The layer of code and the configuration, and a header for each.
        assert report["bytes_sent"] < 25_000
        assert 0 < report["bytes_sent"] - plan["bytes_sent"] < 200
        assert report["bytes_skipped"] > 12_000_000
        assert not again[host_name]["changed"]
    assert inspect(first, name)["Id"] == key


def test_cut_transfer_resumes(first: Host, tmp_path: Path) -> None:
    """What an interrupted run left is sent no second time: a pack with some of the chunks, cut in the middle of one."""
    name = f"{IMAGES}:three"
    key = build(name, "code", f"base {uuid.uuid4()}")
    try:
        whole = run(tmp_path, "first", [name], check=True)["first"]["images"][name]
        base = cache_of_the_run().blob(docker.from_env().images.get(name).attrs["RootFS"]["Layers"][0])
        assert base
        pack = tmp_path / image_pack.pack_name(key)
        frames = [
            image_pack.header(chunk.id, chunk.codec, chunk.size, chunk.packed) + cache_of_the_run().read(chunk)
            for chunk in base.chunks
        ]
        pack.write_bytes(b"".join(frames[:2]) + frames[2][: len(frames[2]) // 2])
        upload("first", pack, f"{STAGING}/{pack.name}")
        report = run(tmp_path, "first", [name])["first"]["images"][name]
    finally:
        docker.from_env().images.remove(name)
    missing = whole["bytes_sent"] - sum(chunk.packed for chunk in base.chunks[:2])
    assert 0 < report["bytes_sent"] - missing < 1000
    assert inspect(first, name)["Id"] == key
    with first.sudo():
        assert first.file(STAGING).listdir() == []


def test_engine_that_is_down_is_named(first: Host, tmp_path: Path) -> None:
    with first.sudo():
        first.check_output("systemctl stop docker.socket docker.service")
        try:
            result = run(tmp_path, "first", [FIRST])["first"]
        finally:
            first.check_output("systemctl start docker.socket docker.service")
    assert result["failed"]
    assert "Run the role modelyard.mlops.docker first" in result["msg"]


def test_images_beyond_those_to_keep_go(first: Host, tmp_path: Path) -> None:
    """What is in use stays however old it is, and so does what somebody else has given a name."""
    used, named, old, older, newest = names = [f"{IMAGES}-kept:{number}" for number in range(5)]
    for name in names:
        build(name, name)
    try:
        run(tmp_path, "first", [used, named, old, older])
        with first.sudo():
            first.check_output(f"docker create --name user {used} && docker tag {named} others:1")
        planned = run(tmp_path, "first", [newest, FIRST], check=True, keep=1)["first"]
        done = run(tmp_path, "first", [newest, FIRST], keep=1)["first"]
        again = run(tmp_path, "first", [newest, FIRST], keep=1)["first"]
        with first.sudo():
            left = first.check_output("docker images --format '{{.Repository}}:{{.Tag}}'").split()
            first.check_output("docker rm user && docker image rm others:1")
    finally:
        for name in names:
            docker.from_env().images.remove(name)
    assert planned["removed"] == done["removed"]
    assert {old, older} <= set(done["removed"])
    assert {used, named, newest, "others:1", FIRST} <= set(left)
    assert not {old, older} & set(left)
    assert not again["changed"]
