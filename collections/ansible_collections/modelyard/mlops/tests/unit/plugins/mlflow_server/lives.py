# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What the containers of a server do, and which of them run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.modelyard.mlops.plugins.module_utils.container import Spec

from ..container.fakes import FakeContainers
from .databases import execute

IMAGE = {"head": "new", "known": ["old", "new"]}


class Life:
    """What containers do: the upgrade changes the database, and images may be broken.

    :ivar broken: the images whose server ends.
    :ivar fills: the database in which a server makes tables before anything else.
    """

    def __init__(self, data: Path, containers: FakeContainers) -> None:
        self._data, self._containers = data, containers
        self.upgrade_fails = False
        self.broken: set[str] = set()
        self.fills: Path | None = None

    def __call__(self, spec: Spec) -> dict[str, Any]:
        if spec.entrypoint == ("mlflow",):
            execute(self._data / "mlflow.db", "CREATE TABLE half (done TEXT)")
            if self.upgrade_fails:
                return {"Running": False, "ExitCode": 1}
            execute(self._data / "mlflow.db", "UPDATE alembic_version SET version_num = 'new'")
        if self.fills and not spec.entrypoint:
            execute(self.fills, "CREATE TABLE half (done TEXT)")
        return {"Running": not spec.entrypoint and spec.image not in self.broken, "ExitCode": 0}


def running(containers: FakeContainers) -> dict[str, str]:
    """The image of each container that runs."""
    return {
        name: found["Id"].split("-")[1] for name, found in containers.containers.items() if found["State"]["Running"]
    }


def everything(folder: Path, containers: FakeContainers) -> tuple[dict[str, str], dict[Path, bytes]]:
    """What check mode must leave as it is: the containers that run, and all files."""
    return running(containers), {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
