# SPDX-License-Identifier: Apache-2.0
"""The connection fails: what was sent is not sent again, and the host has the image or has nothing of it."""

from __future__ import annotations

from ansible_collections.modelyard.mlops.extensions.molecule.image_transfer.build import MIB
from ansible_collections.modelyard.mlops.extensions.molecule.image_transfer_faults.harness import (
    ENGINE_TMP,
    IN_FLIGHT,
    SLACK,
    STAGING,
    Body,
    Controller,
    happened,
    kill,
)
from ansible_collections.modelyard.mlops.plugins.module_utils.image_pack import CHUNK_SIZE

# What the image fixture's layers compress to: nothing is gained.
WHOLE = 15 * MIB
# Questions, each with the agent, and handshakes.
QUESTIONS = MIB // 2


def test_cut_in_the_middle_of_a_chunk(body: Body, controller: Controller, image: tuple[str, str]) -> None:
    name, key = image
    controller.faults(cut=9 * MIB)
    assert not controller.bring(name).well
    assert body.key(name) is None
    body.assert_sound()
    controller.repair()
    report = controller.bring(name).image(name)
    assert report["bytes_sent"] < WHOLE - 9 * MIB + CHUNK_SIZE + IN_FLIGHT + QUESTIONS
    assert body.key(name) == report["key"] == key
    assert body.staged() == []


def test_cut_between_chunks(body: Body, controller: Controller, image: tuple[str, str]) -> None:
    name, key = image
    controller.faults(refuse=3)
    assert not controller.bring(name).well
    sent = int(body.run(f"cat {STAGING}/* | wc -c"))
    assert sent >= CHUNK_SIZE
    body.assert_sound()
    controller.repair()
    report = controller.bring(name).image(name)
    assert 0 < report["bytes_sent"] < WHOLE - sent + SLACK * 10
    assert body.key(name) == report["key"] == key


def test_cut_that_is_over_at_once(body: Body, controller: Controller, image: tuple[str, str]) -> None:
    """The same run goes on, and sends no more than a part of the chunk again."""
    name, key = image
    controller.faults(cut=9 * MIB, once=True)
    assert controller.bring(name).image(name)["key"] == key
    assert controller.wire < WHOLE + CHUNK_SIZE + IN_FLIGHT + QUESTIONS
    assert body.key(name) == key
    body.assert_sound()


def test_bit_that_turns_over_on_the_way(body: Body, controller: Controller, image: tuple[str, str]) -> None:
    name, key = image
    controller.faults(damage=9 * MIB)
    assert controller.bring(name).image(name)["key"] == key
    assert controller.wire < WHOLE + CHUNK_SIZE + IN_FLIGHT + QUESTIONS
    assert body.key(name) == key
    body.assert_sound()


def test_controller_dies_during_the_load(body: Body, controller: Controller, image: tuple[str, str]) -> None:
    name, key = image
    loading = body.when(f"ls {ENGINE_TMP}/docker-import-* 2>/dev/null", "pkill -STOP -x dockerd")
    run = controller.start(name)
    happened(loading)
    kill(run)
    body.run("pkill -CONT -x dockerd")
    body.settle()
    assert body.key(name) in (None, key)
    body.assert_sound()
    report = controller.bring(name).image(name)
    assert report["bytes_sent"] == 0
    assert body.key(name) == report["key"] == key
    assert body.staged() == []
