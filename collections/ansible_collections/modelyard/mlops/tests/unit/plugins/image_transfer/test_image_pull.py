# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""image_pull: by digest, with credentials in the request only, and the name last."""

from __future__ import annotations

import base64
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.engine import EngineError
from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import ImageError
from ansible_collections.modelyard.mlops.plugins.module_utils.image_pack import Staging
from ansible_collections.modelyard.mlops.plugins.module_utils.image_pull import pull
from ansible_collections.modelyard.mlops.plugins.module_utils.image_target import Target
from ansible_collections.modelyard.mlops.tests.unit.plugins.image_transfer.fakes import (
    Answer,
    ContainerdEngine,
    FakeEngine,
    tar,
)

REFERENCE = "registry.example:5000/team/app@sha256:" + "a" * 64
PASSWORD = "secret/of?it"


class Registry(FakeEngine):
    """An engine which can pull one image, from a registry that wants a login."""

    def __init__(self, architecture: str = "amd64") -> None:
        super().__init__()
        self.pulls: list[dict[str, t.Any]] = []
        self._image_architecture = architecture

    def raw(self, method: str, path: str, *_: t.Any, headers: dict[str, str] | None = None, **query: t.Any) -> t.Any:
        assert (method, path) == ("POST", "/images/create")
        self.pulls.append(query)
        login = json.loads(base64.urlsafe_b64decode((headers or {}).get("X-Registry-Auth", "") or b"e30="))
        if login.get("password") != PASSWORD:
            return Answer(b'{"status": "Pulling"}\r\n{"error": "unauthorized: authentication required"}\r\n')
        self.add(f"{query['fromImage']}@{query['tag']}", [tar({"app": b"1"})], architecture=self._image_architecture)
        return Answer(b'{"status": "Downloaded"}\r\n')


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    staging = Staging(str(tmp_path / "images" / "staging"))
    staging.prepare(None)
    return staging


def test_image_is_pulled_by_digest_and_gets_its_name(staging: Staging) -> None:
    engine = Registry()
    target = Target(engine, staging.records)
    done = pull(target, "app:1", REFERENCE, ("reader", PASSWORD))
    assert (done["path"], done["changed"], done["layers"]) == ("pull", True, 1)
    assert engine.tags["app:1"] == done["key"]
    (pulled,) = engine.pulls
    assert f"{pulled['fromImage']}@{pulled['tag']}" == REFERENCE
    assert [record.names for record in target.records.all()] == [("app:1",)]
    files = [path for path in Path(staging.path).parent.rglob("*") if path.is_file()]
    assert not [path for path in files if PASSWORD in path.read_text()]
    again = pull(target, "app:1", REFERENCE, None)
    assert (again["path"], again["changed"], len(engine.pulls)) == ("present", False, 1)


def test_only_the_name_moves(staging: Staging) -> None:
    engine = Registry()
    target = Target(engine, staging.records)
    key = pull(target, "app:1", REFERENCE, ("reader", PASSWORD))["key"]
    assert pull(target, "app:2", REFERENCE, None, dry=True)["path"] == "tag"
    assert "app:2" not in engine.tags
    done = pull(target, "app:2", REFERENCE, None)
    assert (done["path"], engine.tags["app:2"]) == ("tag", key)


def test_check_mode_pulls_nothing(staging: Staging) -> None:
    engine = Registry()
    done = pull(Target(engine, staging.records), "app:1", REFERENCE, ("reader", PASSWORD), dry=True)
    assert (done["changed"], done["path"], done["key"], engine.pulls) == (True, "pull", "", [])


def test_wrong_login_is_named_and_nothing_is_tagged(staging: Staging) -> None:
    engine = Registry()
    with pytest.raises(EngineError, match="unauthorized"):
        pull(Target(engine, staging.records), "app:1", REFERENCE, ("reader", "wrong"))
    assert engine.tags == {}


@pytest.mark.parametrize(
    "reference", ["registry.example/app:1", "registry.example/app", "app@sha256:" + "a" * 64, "a/b@x"]
)
def test_digest_and_registry_are_required(staging: Staging, reference: str) -> None:
    with pytest.raises(ImageError, match="write registry/repository@sha256:DIGEST"):
        pull(Target(Registry(), staging.records), "app:1", reference, None)


def test_other_platform_gets_no_name(staging: Staging) -> None:
    engine = Registry("arm64")
    with pytest.raises(ImageError, match="is for linux/arm64, and the engine runs linux/amd64"):
        pull(Target(engine, staging.records), "app:1", REFERENCE, ("reader", PASSWORD))
    assert "app:1" not in engine.tags


def test_containerd_store_is_refused(staging: Staging) -> None:
    with pytest.raises(ImageError, match="does not tell the key"):
        pull(Target(ContainerdEngine(), staging.records), "app:1", REFERENCE, None)
