# SPDX-License-Identifier: Apache-2.0
"""Something fails on the host: its engine, its disk, or what waits there."""

from __future__ import annotations

import pytest

from ansible_collections.modelyard.mlops.extensions.molecule.image_transfer.build import MIB
from ansible_collections.modelyard.mlops.extensions.molecule.image_transfer_faults.harness import (
    ENGINE_TMP,
    SEND,
    SLACK,
    STAGING,
    Body,
    Controller,
    happened,
)
from ansible_collections.modelyard.mlops.plugins.module_utils.image_pack import CHUNK_SIZE


def test_engine_restarts_during_the_load(body: Body, controller: Controller, image: tuple[str, str]) -> None:
    name, key = image
    restart = body.when(
        f"ls {ENGINE_TMP}/docker-import-* 2>/dev/null", "systemctl reset-failed docker; systemctl restart docker"
    )
    first = controller.bring(name)
    happened(restart)
    body.assert_sound()
    if not first.well:
        assert body.key(name) is None
        assert controller.bring(name).image(name)["bytes_sent"] == 0
    assert body.key(name) == key
    assert body.staged() == []


def test_chunk_that_waits_is_damaged(body: Body, controller: Controller, image: tuple[str, str]) -> None:
    name, key = image
    controller.faults(cut=9 * MIB)
    assert not controller.bring(name).well
    waiting = int(body.run(f"cat {STAGING}/* | wc -c"))
    body.run(f"f=$(ls -S {STAGING}/* | head -1); printf 'damage' | dd of=$f bs=1 seek=100000 conv=notrunc 2>/dev/null")
    controller.repair()
    report = controller.bring(name).image(name)
    assert report["bytes_sent"] < 15 * MIB - waiting + 2 * CHUNK_SIZE + SLACK
    assert body.key(name) == report["key"] == key
    body.assert_sound()


@pytest.mark.parametrize(("place", "again"), [(STAGING, 12 * MIB), (ENGINE_TMP, 1)])
def test_disk_fills_up(body: Body, controller: Controller, image: tuple[str, str], place: str, again: int) -> None:
    """What the disk of the staging folder has not taken is sent again; what waits there for the engine is not."""
    name, key = image
    body.run(f"mkdir -p {place}; mount -t tmpfs -o size=80m,uid=$(id -u admin) none {place}")
    try:
        # There is room when the host is looked at, and for half of the image when it comes.
        controller.faults(run={SEND: body.command(f"fallocate --length 72MiB {place}/filler")})
        first = controller.bring(name)
        assert not first.well
        assert "space" in first.reason or "make room" in first.reason
        assert body.key(name) is None
        body.assert_sound()
        body.run(f"rm {place}/filler")
        controller.repair()
        report = controller.bring(name).image(name)
    finally:
        body.run(f"umount -l {place}")
    assert report["bytes_sent"] < again
    assert body.key(name) == report["key"] == key


def test_disk_that_is_too_small_is_named_before_a_byte_is_sent(
    body: Body, controller: Controller, image: tuple[str, str]
) -> None:
    name, _unused = image
    body.run(f"mkdir -p {STAGING}; mount -t tmpfs -o size=8m none {STAGING}")
    try:
        refused = controller.bring(name)
        assert body.staged() == []
    finally:
        body.run(f"umount -l {STAGING}")
    assert not refused.well
    assert STAGING in refused.reason
    assert controller.wire < MIB
