# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""image_key: what identifies an image, and which of its layers a store has."""

from __future__ import annotations

import hashlib

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import (
    Image,
    ImageError,
    chain_ids,
    check_fixed,
    familiar,
    shared_layers,
    split_reference,
)

A, B, C = ("sha256:" + letter * 64 for letter in "abc")


def test_key_is_the_digest_of_the_configuration() -> None:
    text = b'{"os": "linux", "architecture": "arm64", "rootfs": {"diff_ids": ["%s"]}}' % A.encode()
    image = Image.from_config(text, (3, 4))
    assert image == Image("sha256:" + hashlib.sha256(text).hexdigest(), (A,), "linux", "arm64", 7, (3, 4))


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"os": "linux"}', b"\xff"])
def test_what_is_no_configuration_is_refused(text: bytes) -> None:
    with pytest.raises(ImageError, match="no image configuration"):
        Image.from_config(text)


def test_chain_ids_are_those_of_the_specification() -> None:
    second = "sha256:" + hashlib.sha256(f"{A} {B}".encode()).hexdigest()
    third = "sha256:" + hashlib.sha256(f"{second} {C}".encode()).hexdigest()
    assert chain_ids([A, B, C]) == [A, second, third]
    assert chain_ids([]) == []


@pytest.mark.parametrize(
    ("known", "shared"),
    [([], 0), ([[A]], 1), ([[A, B]], 2), ([[A, B, C]], 3), ([[B], [C]], 0), ([[B, A]], 0), ([[A, C], [B]], 1)],
)
def test_only_a_leading_run_of_layers_is_shared(known: list[list[str]], shared: int) -> None:
    chains = {chain for layers in known for chain in chain_ids(layers)}
    assert shared_layers([A, B, C], chains) == shared


def test_reference_has_repository_and_tag() -> None:
    assert split_reference("modelyard/iris:3f2a1c9") == ("modelyard/iris", "3f2a1c9")
    assert split_reference("localhost:5000/a:v1.2_x-y") == ("localhost:5000/a", "v1.2_x-y")


@pytest.mark.parametrize(
    "reference",
    ["iris", "iris:latest", "localhost:5000/iris", "Iris:1", "iris:", "iris:1\n", "iris@sha256:" + 64 * "a"],
)
def test_reference_without_a_tag_to_stand_on_is_refused(reference: str) -> None:
    with pytest.raises(ImageError):
        split_reference(reference)


@pytest.mark.parametrize(
    "reference",
    ["iris:1", "iris@sha256:" + 64 * "a", "host:5000/iris:latest@sha256:" + 64 * "a", "sha256:" + 64 * "a", 64 * "a"],
)
def test_tag_digest_and_id_are_the_same_image_tomorrow(reference: str) -> None:
    check_fixed(reference)


@pytest.mark.parametrize("reference", ["iris", "iris:latest", "host:5000/iris", "iris@sha256:abc", 12 * "a", ""])
def test_what_may_be_another_image_tomorrow_is_refused(reference: str) -> None:
    with pytest.raises(ImageError):
        check_fixed(reference)


@pytest.mark.parametrize("name", ["team/app:1", "docker.io/team/app:1", "localhost/team/app:1"])
def test_the_usual_registries_are_left_out(name: str) -> None:
    assert familiar(name) == "team/app:1"
    assert familiar("docker.io/library/app:1") == "app:1"
    assert familiar("registry.example/app:1") == "registry.example/app:1"
