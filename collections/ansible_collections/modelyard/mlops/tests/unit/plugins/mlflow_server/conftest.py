# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""A data folder with a database and artifacts, as a server leaves them."""

from __future__ import annotations

import itertools
import json
import os
import time
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils import mlflow_archive, mlflow_host, service
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_archive import Archives
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_database import Sqlite

from ..container.fakes import FakeContainers, FakeEngine
from .databases import execute
from .lives import IMAGE, Life


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "artifacts/1/model").mkdir(parents=True)
    (folder / "artifacts/1/model/model.onnx").write_bytes(b"a model" * 1000)
    execute(folder / "mlflow.db", "CREATE TABLE alembic_version (version_num TEXT)", "CREATE TABLE runs (name TEXT)")
    execute(folder / "mlflow.db", "INSERT INTO alembic_version VALUES ('old')", "INSERT INTO runs VALUES ('first')")
    return folder


@pytest.fixture
def database(data: Path) -> Sqlite:
    return Sqlite(str(data / "mlflow.db"), os.getuid())


@pytest.fixture
def archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archives:
    seconds = itertools.count(1_900_000_000)
    # A clock that never shows the same second twice.
    monkeypatch.setattr(mlflow_archive, "now", lambda pattern: time.strftime(pattern, time.gmtime(next(seconds))))
    return Archives(str(tmp_path / "backups"), keep=2)


@pytest.fixture
def containers(monkeypatch: pytest.MonkeyPatch) -> FakeContainers:
    containers = FakeContainers()
    containers.log = json.dumps(IMAGE)
    monkeypatch.setattr(mlflow_host, "Containers", lambda engine: containers)
    monkeypatch.setattr(service, "probe", lambda url, contains: "")
    return containers


@pytest.fixture
def life(data: Path, containers: FakeContainers) -> Life:
    life = Life(data, containers)
    containers.life = life
    return life


@pytest.fixture
def engine() -> FakeEngine:
    """An engine with an image of today, and one of tomorrow."""
    return FakeEngine({"mlflow:1": ("today", ""), "mlflow:2": ("tomorrow", "")})
