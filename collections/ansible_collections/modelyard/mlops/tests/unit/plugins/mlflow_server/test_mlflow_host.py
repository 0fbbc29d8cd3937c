# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever fails, the former server runs on the former data; a run that died is finished or taken back."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.container import ContainerError, Spec
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_archive import Archives
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_change import FirstStart, Upgrade
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_host import Host, Timeouts
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_server import (
    CONTAINER,
    Server,
    ServerError,
    describe,
)

from ..container.fakes import FakeContainers, FakeEngine
from .databases import execute, runs
from .lives import Life, running
from .test_mlflow_server import options


@pytest.fixture
def spec(data: Path) -> Spec:
    return describe(options(data=str(data), uid=os.getuid()), "today", "")


@pytest.fixture
def host(spec: Spec, archives: Archives, life: Life) -> Host:
    return Host(FakeEngine({}), Server(replace(spec, image="tomorrow").body()), archives, Timeouts(1, 1))


@pytest.fixture
def server(spec: Spec, host: Host) -> Spec:
    """A server of today runs; returns that of tomorrow."""
    host.service.replace(spec)
    return replace(spec, image="tomorrow")


def test_an_older_schema_is_upgraded(host: Host, server: Spec, containers: FakeContainers, archives: Archives) -> None:
    upgrade = host.change()
    assert isinstance(upgrade, Upgrade)
    host.service.replace(server, upgrade)
    host.pending.settle()
    assert running(containers) == {CONTAINER: "tomorrow"}
    assert host.database.schema().revision == "new"
    assert len(archives.names()) == 1
    assert host.change() is None


@pytest.mark.parametrize("works", [True, False])
def test_an_empty_store_is_filled_by_the_server_or_stays_empty(
    host: Host, server: Spec, life: Life, data: Path, works: bool
) -> None:
    database = data / "mlflow.db"
    database.unlink()
    change = host.change()
    assert isinstance(change, FirstStart)
    life.fills, life.broken = database, set() if works else {"tomorrow"}
    with contextlib.nullcontext() if works else pytest.raises(ContainerError, match="ended with exit code"):
        host.service.replace(server, change)
    host.pending.settle()
    assert database.exists() is works
    assert host.pending.kind == ""


@pytest.mark.parametrize("what", ["the upgrade", "the server"])
def test_what_fails_leaves_the_former_server_on_the_former_data(
    host: Host, server: Spec, containers: FakeContainers, life: Life, data: Path, what: str
) -> None:
    life.upgrade_fails = what == "the upgrade"
    life.broken = {"tomorrow"}
    with pytest.raises(ContainerError, match="could not be upgraded" if life.upgrade_fails else "ended with exit code"):
        host.service.replace(server, host.change())
    assert running(containers) == {CONTAINER: "today"}
    assert host.database.schema().revision == "old"
    assert runs(data / "mlflow.db") == ["first"]
    assert host.pending.kind == ""


def test_a_run_that_died_during_the_upgrade_is_taken_back(
    host: Host, server: Spec, containers: FakeContainers, archives: Archives
) -> None:
    upgrade = host.change()
    assert isinstance(upgrade, Upgrade)
    containers.stop(CONTAINER)
    containers.rename(CONTAINER, host.service.former)
    upgrade.apply()
    assert host.recover() == "upgrade"
    assert running(containers) == {CONTAINER: "today"}
    assert host.database.schema().revision == "old"
    assert host.recover() == ""


def test_a_run_that_died_after_the_proof_is_finished(host: Host, server: Spec, containers: FakeContainers) -> None:
    upgrade = host.change()
    assert isinstance(upgrade, Upgrade)
    host.service.replace(server, upgrade)
    containers.run(host.service.former, replace(server, image="today"))
    assert host.recover() == "upgrade"
    assert running(containers) == {CONTAINER: "tomorrow"}
    assert host.database.schema().revision == "new"


def saved(archives: Archives, host: Host, data: Path) -> str:
    """The path of a backup of data that has changed since."""
    name = archives.next_name()
    archives.write(name, host.database, str(data / "artifacts"))
    execute(data / "mlflow.db", "INSERT INTO runs VALUES ('second')")
    return archives.find(name)


def test_a_backup_is_restored_and_upgraded(
    host: Host, server: Spec, containers: FakeContainers, archives: Archives, data: Path
) -> None:
    manifest, former = host.restore(saved(archives, host, data))
    assert manifest.revision == "old"
    assert host.database.schema().revision == "new", "which is what the server's image wants"
    assert runs(data / "mlflow.db") == ["first"]
    assert running(containers) == {CONTAINER: "tomorrow"}
    assert former


@pytest.mark.parametrize("what", ["the upgrade", "the server"])
def test_a_restore_that_does_not_work_is_taken_back(
    host: Host, server: Spec, containers: FakeContainers, archives: Archives, data: Path, life: Life, what: str
) -> None:
    path = saved(archives, host, data)
    life.upgrade_fails = what == "the upgrade"
    life.broken = {"tomorrow"}
    with pytest.raises(ContainerError):
        host.restore(path)
    assert runs(data / "mlflow.db") == ["first", "second"]
    assert running(containers) == {CONTAINER: "today"}
    assert host.recover() == ""


def test_a_backup_of_a_newer_schema_is_refused_untouched(
    host: Host, server: Spec, containers: FakeContainers, archives: Archives, data: Path
) -> None:
    execute(data / "mlflow.db", "UPDATE alembic_version SET version_num = 'newer'")
    path = saved(archives, host, data)
    before = sorted(one.name for one in data.iterdir())
    with pytest.raises(ServerError, match="revision newer, which this image's MLflow does not know"):
        host.restore(path)
    assert running(containers) == {CONTAINER: "today"}
    assert sorted(one.name for one in data.iterdir()) == before


def test_a_run_that_died_during_the_restore_is_taken_back(
    host: Host,
    server: Spec,
    containers: FakeContainers,
    archives: Archives,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = saved(archives, host, data)
    with monkeypatch.context() as patch:
        patch.setattr(host.service, "go_back", lambda change: None)
        patch.setattr(host, "run_upgrade", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            host.restore(path)
    assert host.recover() == "restore"
    assert runs(data / "mlflow.db") == ["first", "second"]
    assert running(containers) == {CONTAINER: "today"}
