# SPDX-License-Identifier: Apache-2.0
"""Real engines on both sides, over SSH: what arrives is the image, and only what is missing travels."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import typing as t
import uuid
from pathlib import Path

import docker
import pytest
import testinfra
from testinfra.host import Host

from ansible_collections.modelyard.mlops.plugins.module_utils import image_pack
from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_cache import Cache

SCENARIO = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
# As molecule.yml has it.
IMAGES = f"molecule-images-{hashlib.sha1(os.environ['MOLECULE_EPHEMERAL_DIRECTORY'].encode()).hexdigest()[:8]}/app"
FIRST = f"{IMAGES}:one"
STAGING = "/var/lib/modelyard/images/staging"

PLAYBOOK = """
- hosts: {hosts}
  gather_facts: false
  become: true
  tasks:
    - name: Bring the images
      modelyard.mlops.image_transfer:
        images: {images}
"""


def run(folder: Path, hosts: str, *names: str, check: bool = False) -> dict[str, t.Any]:
    """The action's result by host."""
    playbook = folder / "playbook.yml"
    images = json.dumps([{"name": name} for name in names])
    playbook.write_text(PLAYBOOK.format(hosts=hosts, images=images), encoding="utf-8")
    environment = {
        **os.environ,
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.json",
        "ANSIBLE_DEPRECATION_WARNINGS": "false",
    }
    options = ["--check", "--diff"] if check else []
    done = subprocess.run(
        ["ansible-playbook", *options, "-i", os.environ["MOLECULE_INVENTORY_FILE"], str(playbook)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report = json.loads(done.stdout[done.stdout.index("{") :])
    except ValueError:
        pytest.fail(done.stdout[-2000:] + done.stderr[-2000:])
    return dict(report["plays"][0]["tasks"][0]["hosts"])


def build(name: str, *texts: str) -> str:
    """See build.py; returns the key."""
    command = [sys.executable, "build.py", name, *texts]
    return subprocess.run(command, cwd=SCENARIO, check=True, capture_output=True, text=True).stdout.strip()


def inspect(host: Host, name: str) -> dict[str, t.Any]:
    with host.sudo():
        found: list[dict[str, t.Any]] = json.loads(host.check_output(f"docker image inspect {name}"))
    return found[0]


def cache_of_the_run() -> Cache:
    return Cache(Path(os.environ["XDG_CACHE_HOME"]) / "modelyard/images", 10**9, 10**6)


@pytest.fixture
def first() -> Host:
    """The first of the hosts, for tests that reach both by themselves, or need only one."""
    return testinfra.get_host("ansible://first", ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])


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
        planned = run(tmp_path, "all", name, check=True)
        done = run(tmp_path, "all", name)
        again = run(tmp_path, "all", name)
    finally:
        docker.from_env().images.remove(name)
    for host_name in ("first", "second"):
        plan, report = planned[host_name]["images"][name], done[host_name]["images"][name]
        assert "only the upper layers travel" in planned[host_name]["diff"]["prepared"]
        assert (report["key"], report["path"], report["layers_sent"]) == (key, "thin", 1)
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
        whole = run(tmp_path, "first", name, check=True)["first"]["images"][name]
        base = cache_of_the_run().blob(docker.from_env().images.get(name).attrs["RootFS"]["Layers"][0])
        assert base
        pack = tmp_path / image_pack.pack_name(key)
        frames = [
            image_pack.header(chunk.id, chunk.codec, chunk.size, chunk.packed) + cache_of_the_run().read(chunk)
            for chunk in base.chunks
        ]
        pack.write_bytes(b"".join(frames[:2]) + frames[2][: len(frames[2]) // 2])
        upload = ["ansible", "first", "-i", os.environ["MOLECULE_INVENTORY_FILE"], "-m", "ansible.builtin.copy"]
        where = f"src={pack} dest={STAGING}/{pack.name} mode=0600"
        subprocess.run([*upload, "-a", where], check=True, capture_output=True)
        report = run(tmp_path, "first", name)["first"]["images"][name]
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
            result = run(tmp_path, "first", FIRST)["first"]
        finally:
            first.check_output("systemctl start docker.socket docker.service")
    assert result["failed"]
    assert "Run the role modelyard.mlops.docker first" in result["msg"]
