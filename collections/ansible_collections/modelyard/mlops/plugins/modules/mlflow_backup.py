#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
# Apache-2.0 is compatible with the GNU General Public License v3.0, under which Ansible itself is.
"""Save what an MLflow server knows, while it runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mlflow_backup
short_description: Save an MLflow server's database and artifacts while it runs
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
description:
  - Writes one archive with a consistent copy of the database (SQLite's online backup, or C(pg_dump)) and of the folder
    of artifacts, with a SHA-256 of every file in it and one of the archive beside it.
  - What is saved is what the container of M(modelyard.mlops.mlflow_server) uses, so nothing has to be said of it.
  - Artifacts in S3 are not copied. Switch on the bucket's versioning for them.
  - Deletes the oldest archives once there are more than O(keep). Those that upgrades and restores made are counted
    separately.
extends_documentation_fragment:
  - modelyard.mlops.attributes
attributes:
  check_mode:
    support: full
    details: Says what would be written and deleted.
  diff_mode:
    support: full
    details: Shows the list of archives.
  idempotent:
    support: none
    details: Each run is another backup.
options:
  folder:
    description: The folder of the archives.
    type: path
    default: /var/lib/modelyard/backups/mlflow
  keep:
    description: How many archives to keep, at least 1.
    type: int
    default: 7
  owner:
    description: Name of the user that owns the archive, so that it can be fetched without being root.
    type: str
    default: root
  socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
"""

EXAMPLES = r"""
- name: Save MLflow's data, with only what is required
  modelyard.mlops.mlflow_backup:
  become: true

- name: Save MLflow's data for a user who fetches it, with every option
  modelyard.mlops.mlflow_backup:
    folder: /var/lib/modelyard/backups/mlflow
    keep: 14
    owner: deploy
    socket: /var/run/docker.sock
  become: true
"""

RETURN = r"""
name:
  description: The archive's name.
  returned: always
  type: str
  sample: mlflow-20300101T021500Z.tar.gz
archive:
  description: Where it is on the host.
  returned: always
  type: str
bytes:
  description: The archive's size.
  returned: when it was written
  type: int
files:
  description: How many files are in it.
  returned: when it was written
  type: int
artifacts:
  description: Whether the artifacts are in it.
  returned: always
  type: bool
archives:
  description: The names of all archives that are there then, the oldest first.
  returned: always
  type: list
  elements: str
deleted:
  description: The archives that were (in check mode, would be) deleted.
  returned: always
  type: list
  elements: str
"""

import os
import pwd
import shutil
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.modelyard.mlops.plugins.module_utils.container import Containers
from ansible_collections.modelyard.mlops.plugins.module_utils.engine import Engine, EngineError, EngineUnreachable
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_archive import ArchiveError, Archives
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_change import ChangeError, Pending, locked
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_database import DatabaseError
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_server import CONTAINER, Server, ServerError
from ansible_collections.modelyard.mlops.plugins.module_utils.option_check import (
    Check,
    OptionError,
    check_count,
    problems,
)

ARGUMENTS: dict[str, t.Any] = {
    "folder": {"type": "path", "default": "/var/lib/modelyard/backups/mlflow"},
    "keep": {"type": "int", "default": 7},
    "owner": {"type": "str", "default": "root"},
    "socket": {"type": "path", "default": "/var/run/docker.sock"},
}


def save(module: AnsibleModule, archives: Archives, server: Server) -> dict[str, t.Any]:
    """Write the archive; returns the result."""
    database = server.database()
    if Pending(archives.folder, database, server.data).kind:
        raise ChangeError("a change of MLflow's data is not settled: run the role mlflow, which finishes it, first")
    before = archives.names()
    name = archives.next_name()
    path = os.path.join(archives.folder, name)
    deleted = archives.outdated(name)
    result = {"changed": True, "name": name, "archive": path, "artifacts": bool(server.artifacts), "deleted": deleted}
    if module.check_mode:
        database.schema()
    else:
        with locked(archives.folder):
            manifest = archives.write(name, database, server.artifacts)
        for one in (path, path + ".sha256"):
            shutil.chown(one, module.params["owner"])
        result.update(bytes=os.path.getsize(path), files=len(manifest.files))
    after = [one for one in [*before, name] if one not in deleted]
    return {
        **result,
        "archives": after,
        "diff": {"before": "".join(f"{one}\n" for one in before), "after": "\n".join([*after, ""])},
    }


def main() -> None:
    """Entry point."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    wrong = problems([Check("mlflow_backup_keep", check_count, module.params["keep"])], OptionError)
    if wrong:
        module.fail_json(msg=wrong[0])
    try:
        pwd.getpwnam(module.params["owner"])
    except KeyError:
        module.fail_json(msg=f"owner: the host has no user '{module.params['owner']}'")
    archives = Archives(module.params["folder"], module.params["keep"])
    try:
        server = Server.of_container(Containers(Engine(module.params["socket"])).inspect(CONTAINER))
        module.exit_json(**save(module, archives, server))
    except (ArchiveError, ChangeError, DatabaseError, EngineError, EngineUnreachable, ServerError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
