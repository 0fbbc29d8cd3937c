# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Containers as they are described to the engine, and what it says back."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.container import (
    ContainerError,
    Containers,
    Spec,
    demultiplex,
    need_image,
    parse_size,
)
from ansible_collections.modelyard.mlops.plugins.module_utils.engine import EngineUnreachable

from .fakes import FakeEngine


def test_a_container_is_hardened_without_being_asked() -> None:
    settings = Spec("image").body()["HostConfig"]
    assert settings["CapDrop"] == ["ALL"]
    assert settings["SecurityOpt"] == ["no-new-privileges"]
    assert settings["ReadonlyRootfs"] is True
    assert settings["LogConfig"]["Config"]["max-size"]
    assert settings["PidsLimit"] > 0


def test_ports_are_published_on_loopback_and_mounts_are_read_only_unless_named() -> None:
    spec = Spec("image", ports={5000: 80}, mounts={"/a": "/host/a", "/b": "/host/b"}, writable=("/b",))
    settings = spec.body()["HostConfig"]
    assert settings["PortBindings"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "5000"}]}
    assert [(mount["Target"], mount["ReadOnly"]) for mount in settings["Mounts"]] == [("/a", True), ("/b", False)]


def test_the_text_of_a_spec_depends_on_its_content_alone() -> None:
    assert Spec("image", env={"A": "1", "B": "2"}).text() == Spec("image", env={"B": "2", "A": "1"}).text()
    assert Spec("image").text() != Spec("other").text()


@pytest.mark.parametrize(
    ("text", "size"),
    [("", 0), ("0", 0), ("6291456", 6 << 20), ("8192k", 8 << 20), ("512m", 512 << 20), ("2GB", 2 << 30)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["much", "-1", "1t", "1.5g"])
def test_what_is_no_size_is_named(text: str) -> None:
    with pytest.raises(ContainerError, match=f"'{text}' is no size"):
        parse_size(text)


@pytest.mark.parametrize("text", ["512", "5m", "6291455"])
def test_what_the_engine_would_refuse_is_named(text: str) -> None:
    with pytest.raises(ContainerError, match=f"'{text}' is less than the engine's least, 6m"):
        parse_size(text)


def test_log_streams_are_put_together() -> None:
    def frame(stream: int, text: bytes) -> bytes:
        return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text

    assert demultiplex(frame(1, b"out\n") + frame(2, b"err\xff\n") + frame(1, b"")) == "out\nerr�\n"
    assert demultiplex(frame(1, b"whole\n") + b"\x01\0\0\0\0\0") == "whole\n"


def test_a_missing_image_is_named() -> None:
    with pytest.raises(ContainerError, match="does not have 'team/app:1'; the role image_transfer"):
        need_image(FakeEngine({}), "team/app:1")


def test_a_key_finds_its_image_whatever_the_reference_points_to() -> None:
    engine = FakeEngine({"app:1": ("sha256:new", ""), "app:0": ("sha256:old", "10001")})
    assert need_image(engine, "app:1").key == "sha256:new"
    assert need_image(engine, "app:1", "sha256:old") == ("sha256:old", "sha256:old", "10001")
    with pytest.raises(ContainerError, match=r"'app:1' \(sha256:gone\)"):
        need_image(engine, "app:1", "sha256:gone")


@pytest.mark.parametrize("running", [True, False])
def test_an_engine_that_does_not_say_that_it_has_stopped_a_container_is_asked(running: bool) -> None:
    class Silent(FakeEngine):
        def get(self, path: str, **query: Any) -> Any:
            return {"State": {"Running": running}} if path == "/containers/app/json" else super().get(path, **query)

        def post(self, path: str, body: Any = None, **query: Any) -> Any:
            raise EngineUnreachable("timed out")

        def raw(self, *_arguments: Any, **_options: Any) -> Any:
            raise EngineUnreachable("timed out")

    with pytest.raises(EngineUnreachable) if running else contextlib.nullcontext():
        Containers(Silent({})).stop("app")
