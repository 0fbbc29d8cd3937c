# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""image_look: only what is of interest, and where the engine unpacks, which only its own process may say."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils import image_target
from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import chain_ids
from ansible_collections.modelyard.mlops.plugins.module_utils.image_look import look, places, space, temporary
from ansible_collections.modelyard.mlops.plugins.module_utils.image_pack import Staging
from ansible_collections.modelyard.mlops.plugins.module_utils.image_target import Target
from ansible_collections.modelyard.mlops.tests.unit.plugins.image_transfer.fakes import FakeEngine, digest, tar


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        (b"PATH=/bin\0DOCKER_TMPDIR=/fast\0", "/fast"),
        (b"DOCKER_TMPDIR=\0PATH=/bin\0", "/data/tmp"),
        (b"", "/data/tmp"),
        (None, "/data/tmp"),
    ],
)
def test_temporary_folder_of_the_engine(tmp_path: Path, environment: bytes | None, folder: str) -> None:
    pid = tmp_path / "docker.pid"
    pid.write_text("42\n")
    if environment is not None:
        (tmp_path / "42").mkdir()
        (tmp_path / "42/environ").write_bytes(environment)
    assert temporary("/data", str(tmp_path), str(pid)) == folder
    assert temporary("/data", str(tmp_path), str(tmp_path / "none")) == "/data/tmp"


def test_podman_unpacks_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    monkeypatch.setattr(image_target, "store", lambda *_: image_target.PODMAN)
    staging = Staging(str(tmp_path / "staging"))
    assert places(staging, Target(engine, staging.records))["temporary"] == "/var/tmp"
    assert places(staging, None)["engine"] == "/var/lib"


def test_space_of_a_folder_that_will_be(tmp_path: Path) -> None:
    found = space(str(tmp_path / "a/b/c"))
    assert found["path"] == str(tmp_path / "a/b/c")
    assert found["device"] == tmp_path.stat().st_dev
    assert found["free"] > 0


def test_layers_of_other_images_are_not_told(tmp_path: Path) -> None:
    engine = FakeEngine()
    shared, others, wanted = (tar({name: b""}) for name in ("shared", "others", "wanted"))
    engine.add("others:1", [shared, others])
    layers = [digest(shared), digest(wanted)]
    sent: dict[str, t.Any] = {"name": "app:1", "key": "sha256:b", "layers": layers}
    pulled = {"name": "pulled:1", "key": "sha256:c"}
    found = look(engine, [sent, pulled], Staging(str(tmp_path / "staging")), 3, str(tmp_path))
    assert found["chains"] == chain_ids(layers)[:1]
