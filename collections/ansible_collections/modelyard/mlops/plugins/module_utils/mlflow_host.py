# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""An MLflow server on its host: the container, its database and its backups, and what to do with all three."""

from __future__ import annotations

import json
import typing as t

from .container import ContainerError, Containers
from .engine import Engine
from .mlflow_archive import Archives, Manifest
from .mlflow_change import FirstStart, Pending, Restore, Upgrade
from .mlflow_server import CONTAINER, REVISIONS, Server, upgrade_needed
from .service import Service, run_once

_ONCE = CONTAINER + "-once"
_REVISIONS_TIMEOUT = 120.0


# Options that the modules of the server share; the documentation fragment `mlflow` has their texts.
OPTIONS: dict[str, t.Any] = {
    "start_timeout": {"type": "int", "default": 300},
    "upgrade_timeout": {"type": "int", "default": 3600},
    "socket": {"type": "path", "default": "/var/run/docker.sock"},
}


class Timeouts(t.NamedTuple):
    """Seconds that the server may take until it answers, and MLflow to upgrade a schema."""

    start: int
    upgrade: int


class Host:
    """A server and all that belongs to it.

    :param server: as it runs, or as it is to run.
    """

    def __init__(self, engine: Engine, server: Server, archives: Archives, timeouts: Timeouts) -> None:
        self._server, self._archives, self._timeouts = server, archives, timeouts
        self._containers = Containers(engine)
        self.service = Service(self._containers, CONTAINER, server.verify(timeouts.start))
        self.database = server.database()
        self.pending = Pending(archives.folder, self.database, server.data)

    def recover(self) -> str:
        """Finish, or take back, what a run that died has left; returns what there was, empty when nothing."""
        kind = self.pending.kind
        if kind and self.pending.proven:
            self.service.settle()
            self.pending.settle()
        elif kind:
            self.service.go_back(self._upgrade())
        return kind

    def change(self) -> FirstStart | Upgrade | None:
        """What happens to the schema when the server's image starts; None when nothing.

        :raises ServerError: the image is older than the schema.
        :raises DatabaseError: the database cannot be read.
        """
        schema = self.database.schema()
        if schema.empty:
            return FirstStart(self.pending)
        return self._upgrade() if upgrade_needed(schema.revision, self.revisions()) else None

    def revisions(self) -> dict[str, t.Any]:
        """What the server's image says of schemas: `head` and all that are `known`."""
        spec = self._server.once("python3", "-c", REVISIONS, network="none")
        output = run_once(self._containers, _ONCE, spec, _REVISIONS_TIMEOUT)
        return t.cast("dict[str, t.Any]", json.loads(output.strip().splitlines()[-1]))

    def run_upgrade(self) -> None:
        """Have the server's image upgrade the schema. MLflow must not run."""
        try:
            spec = self._server.once("mlflow", "db", "upgrade", self._server.store)
            run_once(self._containers, _ONCE, spec, self._timeouts.upgrade)
        except ContainerError as error:
            raise ContainerError(f"the schema of the database could not be upgraded: {error}") from error

    def restore(self, path: str) -> tuple[Manifest, str]:
        """Put a backup in the place of the data; returns what was in it, and where a backup of the former is, if any.

        :raises ArchiveError: the backup cannot be trusted; nothing was touched.
        :raises ContainerError: the server does not work with it; it works on what there was, as far as it did.
        """
        restore = Restore(self.pending, self._archives, self.database, self._server.data, self._server.owner)
        manifest = restore.unpack(path)
        try:
            if upgrade_needed(manifest.revision, self.revisions()):
                restore.upgrade = self.run_upgrade
        except Exception:
            restore.discard()
            raise
        self.service.replace(self._server.spec(), restore)
        self.pending.settle()
        return manifest, restore.former

    def _upgrade(self) -> Upgrade:
        return Upgrade(self.pending, self._archives, self.database, self.run_upgrade)
