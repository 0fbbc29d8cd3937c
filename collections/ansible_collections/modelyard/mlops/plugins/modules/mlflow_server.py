#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
# Apache-2.0 is compatible with the GNU General Public License v3.0, under which Ansible itself is.
"""Keep an MLflow server as it is described."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mlflow_server
short_description: Keep an MLflow server as it is described
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
description:
  - Runs an MLflow server as a container from an image that the host already has, and shows by a request that it works.
  - If anything in its description changes, or the image that the reference points to, the container is replaced. The
    former one is kept, stopped, until the new one has answered; if it does not, the former one runs again and the
    module fails with the new one's last log lines.
  - When the image's MLflow wants a newer schema than the database has, the database is saved as a backup and upgraded
    by the new image before the server starts. If that fails, or the server does not work with it, the former database
    is put back before the former server runs again. An image that is older than the schema is refused.
  - A run that died in the middle is finished, or taken back, by the next one.
  - Passwords and keys are files that the server's libraries read themselves, never part of the container's description.
  - The container has no capabilities, cannot gain privileges, sees its root file system read-only, publishes its port
    on the loopback address only and rotates its log. None of this is an option.
extends_documentation_fragment:
  - modelyard.mlops.mlflow
  - modelyard.mlops.attributes
attributes:
  check_mode:
    support: full
    details: Works before the engine or the image is there, and names the upgrade once both are.
  diff_mode:
    support: full
    details: Shows the container's description, without secrets.
  idempotent:
    support: full
options:
  image:
    description:
      - The image, as the host's engine knows it. Never pulled. By itself it runs C(mlflow server).
      - A digest, an ID, or a tag other than C(latest), which would be another image tomorrow.
    type: str
    required: true
  image_key:
    description: The image's key. With it, the image with that key is run, whatever O(image) points to now.
    type: str
    default: ""
  data:
    description: The folder of the database and the artifacts, as far as they are not elsewhere.
    type: path
    required: true
  uid:
    description: The number of the user and the group that the server runs as and that own the folder.
    type: int
    required: true
  port:
    description: The port on the host's loopback address.
    type: int
    default: 5000
  prefix:
    description: The path that everything is below. Empty for none.
    type: str
    default: ""
  allowed_hosts:
    description: The names by which browsers reach the server.
    type: list
    elements: str
    default: []
  workers:
    description: Worker processes.
    type: int
    default: 1
  memory:
    description: The most memory it may use, such as V(512m). Empty is no limit.
    type: str
    default: ""
  postgresql:
    description: The database in a PostgreSQL server, instead of SQLite in O(data). It must be MLflow's alone.
    type: dict
    default: {}
    suboptions:
      host: {type: str, default: "", description: "Name or address, or the folder of its unix socket. Empty is SQLite."}
      port: {type: int, default: 5432, description: Port.}
      database: {type: str, default: mlflow, description: The database. It must exist.}
      user: {type: str, default: mlflow, description: The user that owns it.}
      password: {type: str, default: "", description: The user's password.}
      sslmode:
        description: How the connection is protected; over a socket it is not.
        type: str
        choices: [disable, prefer, require, verify-ca, verify-full]
        default: require
      ca_path: {type: path, default: "", description: "File on the host with the certificates to trust."}
  s3:
    description: The artifacts in S3, instead of O(data).
    type: dict
    default: {}
    suboptions:
      bucket: {type: str, default: "", description: The bucket. Empty is O(data).}
      prefix: {type: str, default: "", description: The folder in the bucket.}
      region: {type: str, default: "", description: The region.}
      endpoint_url: {type: str, default: "", description: "Address of an S3 that is not AWS'."}
      access_key_id: {type: str, default: "", description: "Without it, the role of the instance is used."}
      secret_access_key: {type: str, default: "", description: Goes with the former.}
  secrets:
    description: The folder of the files with secrets.
    type: path
    default: /etc/modelyard/mlflow
  backups:
    description: The folder of the backups.
    type: path
    default: /var/lib/modelyard/backups/mlflow
  keep:
    description: How many backups from before an upgrade to keep, at least 1.
    type: int
    default: 7
"""

EXAMPLES = r"""
- name: Run MLflow with its database and its artifacts in a folder, with only what is required
  modelyard.mlops.mlflow_server:
    image: team/mlflow:3.4.0
    data: /var/lib/modelyard/mlflow
    uid: 10001
  become: true

- name: Run MLflow on PostgreSQL and S3, with every option
  modelyard.mlops.mlflow_server:
    image: team/mlflow:3.4.0
    image_key: "{{ image_transfer_results['team/mlflow:3.4.0'].key }}"
    data: /var/lib/modelyard/mlflow
    uid: 10001
    port: 5000
    prefix: /mlflow
    allowed_hosts: [ml.example.com]
    workers: 2
    memory: 2g
    postgresql:
      host: db.example.com
      port: 5432
      database: mlflow
      user: mlflow
      password: "{{ vault_mlflow_database_password }}"
      sslmode: verify-full
      ca_path: /etc/ssl/certs/db.pem
    s3:
      bucket: team-models
      prefix: mlflow
      region: eu-central-1
      endpoint_url: https://s3.example.com
      access_key_id: "{{ vault_mlflow_key_id }}"
      secret_access_key: "{{ vault_mlflow_key }}"
    secrets: /etc/modelyard/mlflow
    backups: /var/lib/modelyard/backups/mlflow
    keep: 7
    start_timeout: 300
    upgrade_timeout: 3600
    socket: /var/run/docker.sock
  become: true
"""

RETURN = r"""
id:
  description: The container's ID.
  returned: when it was started
  type: str
image:
  description: The image's ID; empty in check mode for an image that is not on the host yet.
  returned: when the engine answers
  type: str
seconds:
  description: How long it took until it worked.
  returned: when it was started
  type: float
upgrade:
  description: Whether the schema of the database was (in check mode, would be) upgraded.
  returned: when the engine answers
  type: bool
backup:
  description: The backup of the database from before the upgrade.
  returned: when the schema was upgraded
  type: str
"""

import json
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.modelyard.mlops.plugins.module_utils.container import ContainerError, find_image, need_image
from ansible_collections.modelyard.mlops.plugins.module_utils.engine import Engine, EngineError, EngineUnreachable
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_archive import ArchiveError, Archives
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_change import ChangeError, Upgrade, locked
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_database import DatabaseError
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_host import OPTIONS, Host, Timeouts
from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_server import (
    SecretFolders,
    Server,
    ServerError,
    check,
    describe,
    secret_files,
)


def text(default: str = "", **more: t.Any) -> dict[str, t.Any]:
    """An option that is a text."""
    return {"type": "str", "default": default, **more}


def number(default: int) -> dict[str, t.Any]:
    """An option that is a number."""
    return {"type": "int", "default": default}


POSTGRESQL = {
    "host": text(),
    "port": number(5432),
    "database": text("mlflow"),
    "user": text("mlflow"),
    "password": text(no_log=True),
    "sslmode": text("require", choices=["disable", "prefer", "require", "verify-ca", "verify-full"]),
    "ca_path": {"type": "path", "default": ""},
}
S3 = {
    "bucket": text(),
    "prefix": text(),
    "region": text(),
    "endpoint_url": text(),
    "access_key_id": text(no_log=False),
    "secret_access_key": text(no_log=True),
}
ARGUMENTS: dict[str, t.Any] = {
    "image": {"type": "str", "required": True},
    "image_key": text(no_log=False),
    "data": {"type": "path", "required": True},
    "uid": {"type": "int", "required": True},
    "port": number(5000),
    "prefix": text(),
    "allowed_hosts": {"type": "list", "elements": "str", "default": []},
    "workers": number(1),
    "memory": text(),
    "postgresql": {"type": "dict", "default": {}, "options": POSTGRESQL, "apply_defaults": True},
    "s3": {"type": "dict", "default": {}, "options": S3, "apply_defaults": True},
    "secrets": {"type": "path", "default": "/etc/modelyard/mlflow", "no_log": False},
    "backups": {"type": "path", "default": "/var/lib/modelyard/backups/mlflow"},
    "keep": number(7),
    **OPTIONS,
}
ERRORS = (ArchiveError, ChangeError, ContainerError, DatabaseError, EngineError, ServerError, OSError, ValueError)


def diff(before: str, after: str) -> dict[str, str]:
    """Two descriptions, for people."""
    return {
        "before": json.dumps(json.loads(before), indent=2) + "\n" if before else "",
        "after": json.dumps(json.loads(after), indent=2) + "\n" if after else "",
    }


class Task:
    """One run of the module."""

    def __init__(self, module: AnsibleModule, engine: Engine) -> None:
        self._module, self._engine, self._options = module, engine, module.params
        self._folders = SecretFolders(self._options["secrets"], self._options["uid"])
        self._files = secret_files(self._options)

    def planned(self) -> str:
        """The container's description where there is no engine yet."""
        image = self._options["image_key"] or self._options["image"]
        return describe(self._options, image, self._secrets_in_check_mode()).text()

    def preview(self) -> dict[str, t.Any]:
        """What would be done."""
        reference, key = self._options["image"], self._options["image_key"]
        image = find_image(self._engine, reference, key)
        spec = describe(self._options, image.id if image else key or reference, self._secrets_in_check_mode())
        host = self._host(Server(spec.body()))
        before, proven = host.service.running()
        changed = before != spec.text() or not proven
        change = None
        if image and changed:
            try:
                change = host.change()
            except DatabaseError as error:
                self._module.warn(f"whether the database needs an upgrade is not known yet: {error}")
        return {
            "changed": changed,
            "image": image.id if image else "",
            "upgrade": isinstance(change, Upgrade),
            "diff": diff(before, spec.text()),
        }

    def present(self) -> dict[str, t.Any]:
        """Have the server run."""
        image = need_image(self._engine, self._options["image"], self._options["image_key"])
        folder = self._folders.write(self._files)
        spec = describe(self._options, image.id, folder)
        host = self._host(Server(spec.body()))
        recovered = host.recover()
        before, proven = host.service.running()
        result = {"changed": True, "image": image.id, "upgrade": False, "diff": diff(before, spec.text())}
        if before == spec.text() and proven:
            host.service.wait(host.service.restarts())
            self._folders.prune(folder)
            return {**result, "changed": bool(recovered)}
        started = time.monotonic()
        try:
            change = host.change()
            result["id"] = host.service.replace(spec, change)
        except Exception:
            # The former server's secrets are all that is of use.
            self._folders.prune(Server(json.loads(before)).secrets_folder if before not in ("", "{}") else "")
            raise
        host.pending.settle()
        self._folders.prune(folder)
        if isinstance(change, Upgrade):
            result.update(upgrade=True, backup=change.backup)
        return {**result, "seconds": round(time.monotonic() - started, 1)}

    def _host(self, server: Server) -> Host:
        archives = Archives(self._options["backups"], self._options["keep"])
        return Host(
            self._engine, server, archives, Timeouts(self._options["start_timeout"], self._options["upgrade_timeout"])
        )

    def _secrets_in_check_mode(self) -> str:
        if not self._files:
            return ""
        return self._folders.find(self._files) or f"{self._options['secrets']}/secrets-new"


class QuietModule(AnsibleModule):
    """A module whose options are not written to the journal.

    Secrets within an option would be there as Python writes them, with each backslash doubled, and so not be masked.
    """

    def _log_invocation(self) -> None:
        pass


def main() -> None:
    """Entry point."""
    # AnsibleModule has no types.
    module = QuietModule(argument_spec=ARGUMENTS, supports_check_mode=True)  # type: ignore[no-untyped-call]
    task = Task(module, Engine(module.params["socket"]))
    try:
        check(module.params)
        if module.check_mode:
            module.exit_json(**task.preview())
        with locked(module.params["backups"]):
            module.exit_json(**task.present())
    except EngineUnreachable as error:
        if not module.check_mode:
            module.fail_json(msg=str(error))
        # The engine is installed by what comes before this in the playbook.
        module.exit_json(changed=True, diff=diff("", task.planned()))
    except ERRORS as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
