#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
# Apache-2.0 is compatible with the GNU General Public License v3.0, under which Ansible itself is.
"""Have an MLflow server continue with what a backup holds."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mlflow_restore
short_description: Restore an MLflow server's data from a backup
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
description:
  - Unpacks an archive of M(modelyard.mlops.mlflow_backup) and checks all of it before it touches anything.
  - Then it stops the server, exchanges the data, upgrades the schema if the image wants a newer one, starts the server
    and asks it. If any of this fails, the former data is put back and the former server runs again.
  - Before, it saves the database that is there, if there is one that can be read, as a backup of its own.
  - An archive from before an upgrade, or of a server with its artifacts in S3, holds the database alone; the artifacts
    then stay as they are.
  - Works when the server's data folder is lost. When its container is lost too, let the role mlflow make an empty
    server first.
extends_documentation_fragment:
  - modelyard.mlops.mlflow
  - modelyard.mlops.attributes
attributes:
  check_mode:
    support: full
    details: Unpacks and checks the archive, and changes nothing.
  diff_mode:
    support: full
    details: Names the schema, the number of files and the age of what is restored.
  idempotent:
    support: none
    details: Each run restores. It is meant for people, and for no play that runs again and again.
options:
  folder:
    description: The folder of the archives.
    type: path
    default: /var/lib/modelyard/backups/mlflow
  backup:
    description: The archive's name. V(latest) is the newest that M(modelyard.mlops.mlflow_backup) made.
    type: str
    default: latest
  image:
    description:
      - An image that the host has, for the server to run from now on. Empty is its present one.
      - With the backup from before an upgrade, it is the way back to an older MLflow.
    type: str
    default: ""
  keep:
    description: How many backups from before a restore to keep, at least 1.
    type: int
    default: 7
"""

EXAMPLES = r"""
- name: Go back to what was saved last, with only what is required
  modelyard.mlops.mlflow_restore:
  become: true

- name: Go back to what was before an upgrade, with every option
  modelyard.mlops.mlflow_restore:
    folder: /var/lib/modelyard/backups/mlflow
    backup: mlflow-20300101T021500Z-before-upgrade.tar.gz
    image: team/mlflow:3.3.0
    keep: 7
    start_timeout: 300
    upgrade_timeout: 3600
    socket: /var/run/docker.sock
  become: true
"""

RETURN = r"""
archive:
  description: Where the archive is that was restored.
  returned: always
  type: str
created:
  description: When it was made.
  returned: always
  type: str
files:
  description: How many files are in it.
  returned: always
  type: int
artifacts:
  description: Whether the artifacts were in it.
  returned: always
  type: bool
former:
  description: The backup of the database that was there before; empty when there was none.
  returned: when it was restored
  type: str
"""

import os
import tempfile
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.modelyard.mlops.plugins.module_utils.container import ContainerError, Containers, need_image
from ansible_collections.modelyard.mlops.plugins.module_utils.engine import Engine, EngineError, EngineUnreachable
from ansible_collections.modelyard.mlops.plugins.module_utils.image_key import ImageError, check_fixed
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_archive import (
    ArchiveError,
    Archives,
    Manifest,
    unpack,
)
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_change import ChangeError, locked
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_database import DatabaseError
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_host import OPTIONS, Host, Timeouts
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_server import CONTAINER, Server, ServerError
from ansible_collections.modelyard.mlops.plugins.module_utils.option_check import (
    Check,
    OptionError,
    check_count,
    problems,
)

ARGUMENTS: dict[str, t.Any] = {
    "folder": {"type": "path", "default": "/var/lib/modelyard/backups/mlflow"},
    "backup": {"type": "str", "default": "latest"},
    "image": {"type": "str", "default": ""},
    "keep": {"type": "int", "default": 7},
    **OPTIONS,
}


def describe(manifest: Manifest) -> dict[str, t.Any]:
    """What an archive holds, for the result."""
    return {"created": manifest.created, "files": len(manifest.files), "artifacts": manifest.artifacts}


def restore(module: AnsibleModule, engine: Engine, archives: Archives) -> dict[str, t.Any]:
    """Restore, or check that it can be done; returns the result."""
    server = Server.of_container(Containers(engine).inspect(CONTAINER))
    if module.params["image"]:
        server = Server(server.spec(need_image(engine, module.params["image"]).id).body())
    timeouts = Timeouts(module.params["start_timeout"], module.params["upgrade_timeout"])
    host = Host(engine, server, archives, timeouts)
    path = archives.find(module.params["backup"])
    former = ""
    if module.check_mode:
        with tempfile.TemporaryDirectory(dir=archives.folder) as folder:
            manifest = unpack(path, folder, host.database, os.getuid())
    else:
        with locked(archives.folder):
            host.recover()
            manifest, former = host.restore(path)
    shown = f"{os.path.basename(path)} of {manifest.created}: schema {manifest.revision}, {len(manifest.files)} files\n"
    return {
        "changed": True,
        "archive": path,
        "former": former,
        "diff": {"before": "", "after": shown},
        **describe(manifest),
    }


def main() -> None:
    """Entry point."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    checks = [Check("mlflow_backup_keep", check_count, module.params["keep"])]
    if module.params["image"]:
        checks.append(Check("mlflow_restore_image", check_fixed, module.params["image"]))
    wrong = problems(checks, OptionError, ImageError)
    if wrong:
        module.fail_json(msg="; ".join(wrong))
    archives = Archives(module.params["folder"], module.params["keep"])
    try:
        module.exit_json(**restore(module, Engine(module.params["socket"]), archives))
    except (
        ArchiveError,
        ChangeError,
        ContainerError,
        DatabaseError,
        EngineError,
        EngineUnreachable,
        ServerError,
        OSError,
    ) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
