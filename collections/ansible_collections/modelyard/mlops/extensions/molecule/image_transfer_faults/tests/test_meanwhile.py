# SPDX-License-Identifier: Apache-2.0
"""Somebody else acts while an image is on its way."""

from __future__ import annotations

import sys
from pathlib import Path

import docker

from ansible_collections.modelyard.mlops.extensions.molecule.image_transfer.build import MIB, build
from ansible_collections.modelyard.mlops.extensions.molecule.image_transfer_faults.harness import (
    LOOK,
    SEND,
    SLACK,
    Body,
    Controller,
    ended,
)
from ansible_collections.modelyard.mlops.plugins.module_utils.image_pack import CHUNK_SIZE

HERE = ["docker", "image"]


def test_chunk_in_the_cache_is_damaged(body: Body, controller: Controller, image: tuple[str, str]) -> None:
    name, key = image
    planned = controller.bring(name, check=True).image(name)
    chunk = max((controller.cache / "chunks").glob("*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    report = controller.bring(name).image(name)
    assert report["bytes_sent"] < planned["bytes_sent"] + CHUNK_SIZE + SLACK
    assert body.key(name) == report["key"] == key
    body.assert_sound()


def test_two_controllers_send_the_same(body: Body, tmp_path: Path, image: tuple[str, str]) -> None:
    name, key = image
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    runs = [Controller(folder).start(name) for folder in folders]
    reports = [ended(run).image(name) for run in runs]
    assert [report["key"] for report in reports] == [key, key]
    assert body.key(name) == key
    assert body.staged() == []
    body.assert_sound()


def test_image_is_deleted_between_plan_and_send(body: Body, controller: Controller, image: tuple[str, str]) -> None:
    name, key = image
    controller.faults(run={LOOK: [*HERE, "rm", name]})
    first = controller.bring(name)
    assert not first.well
    assert name in first.reason
    assert controller.wire < MIB
    assert body.key(name) is None
    body.assert_sound()
    assert build(name, "code", name, [5 * MIB] * 3) == key
    controller.repair()
    assert controller.bring(name).image(name)["key"] == key == body.key(name)


def test_image_below_is_deleted_on_the_host(body: Body, controller: Controller, image: tuple[str, str]) -> None:
    """The plan sends only the layer of code. The engine refuses that now, so all layers go, and the role says so."""
    below, _unused = image
    controller.bring(below).image(below)
    name = f"{below}-next"
    key = build(name, "other code", below, [5 * MIB] * 3)
    try:
        controller.faults(run={SEND: body.command(f"docker image rm {below}")})
        report = controller.bring(name).image(name)
    finally:
        docker.from_env().images.remove(name)
    assert (report["path"], report["layers_sent"]) == ("full", 4)
    assert "refused" in report["reason"]
    assert body.key(name) == report["key"] == key
    body.assert_sound()


def test_name_moves_on_the_controller(body: Body, controller: Controller, image: tuple[str, str]) -> None:
    """What was planned arrives, or nothing; the next run brings what the name means then."""
    name, key = image
    builder = Path(sys.modules[build.__module__].__file__ or "")
    controller.faults(run={LOOK: [sys.executable, str(builder), name, "newer code"]})
    first = controller.bring(name)
    if first.well:
        assert first.image(name)["key"] == key == body.key(name)
    else:
        assert body.key(name) is None
    newer = str(docker.from_env().images.get(name).id)
    try:
        controller.repair()
        assert controller.bring(name).image(name)["key"] == newer == body.key(name) != key
    finally:
        docker.from_env().images.remove(newer, force=True)
    body.assert_sound()


def test_name_moves_on_the_host(body: Body, controller: Controller, image: tuple[str, str]) -> None:
    """Somebody gives the name to another image of the host: in the end it means the verified one."""
    below, _unused = image
    controller.bring(below).image(below)
    name = f"{below}-next"
    key = build(name, "other code", below, [5 * MIB] * 3)
    try:
        controller.faults(run={SEND: body.command(f"docker tag {below} {name}")})
        report = controller.bring(name).image(name)
    finally:
        docker.from_env().images.remove(name)
    assert body.key(name) == report["key"] == key
    body.assert_sound()
