#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
# Apache-2.0 is compatible with the GNU General Public License v3.0, under which Ansible itself is.
"""Bring a version of a model from MLflow's registry to a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mlflow_model
short_description: Bring a model version from MLflow's registry to a host
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
description:
  - Resolves an alias or a number to a model version, and puts that version's files into O(dest)/<name>/<version>.
  - The files are checked before they appear there, and they appear all at once. What is corrupt or cut off is never
    left in place. A version that is there already is checked, and not fetched again.
  - A model that brings a C(checksums.json), with the SHA-256 of each of its files by path, consists of exactly these
    files. The SHA-256 of C(checksums.json) itself is checked against the version's tag C(modelyard.checksums). For a
    model without it, sizes are checked, and a C(checksums.json) is made of what arrived.
  - Other versions in O(dest) are not touched.
extends_documentation_fragment:
  - modelyard.mlops.attributes
attributes:
  check_mode:
    support: full
    details:
      - Resolves and fetches nothing. Where the server, the model or the alias do not exist yet, it warns instead of
        failing, since what comes before it in the playbook may make them.
  diff_mode:
    support: full
    details: Names the version and the digest of its files.
  idempotent:
    support: full
    details: An alias that has moved in the registry is another version.
options:
  tracking_uri:
    description: The server, as C(MLFLOW_TRACKING_URI) has it, with the prefix that the server was started with.
    type: str
    required: true
  username:
    description: For a server behind a login (HTTP basic).
    type: str
    default: ""
  password:
    description: Goes with O(username).
    type: str
    default: ""
  ca_path:
    description: Certificates to trust instead of those of the host's own store.
    type: path
  name:
    description: The registered model.
    type: str
    required: true
  alias:
    description: The alias that points to the version, such as V(champion).
    type: str
  version:
    description: The version's number.
    type: str
  dest:
    description: The folder of all models on the host.
    type: path
    default: /var/lib/modelyard/models
  timeout:
    description: Seconds without a byte from the server after which to give up.
    type: float
    default: 30
"""

EXAMPLES = r"""
- name: Fetch the model that is to serve, with only what is required
  modelyard.mlops.mlflow_model:
    tracking_uri: http://127.0.0.1:5000/mlflow
    name: iris
    alias: champion
  become: true
  register: model

- name: Fetch one version through the ingress, with every option
  modelyard.mlops.mlflow_model:
    tracking_uri: https://ml.example.com/mlflow
    username: deploy
    password: "{{ vault_mlflow_password }}"
    ca_path: /etc/ssl/certs/team.pem
    name: iris
    version: "7"
    dest: /var/lib/modelyard/models
    timeout: 60
  become: true

- name: Fetch what an alias points to, with every other option
  modelyard.mlops.mlflow_model:
    tracking_uri: https://ml.example.com/mlflow
    username: deploy
    password: "{{ vault_mlflow_password }}"
    name: iris
    alias: challenger
  become: true
"""

RETURN = r"""
resolved:
  description: Whether the version is known. Only in check mode it can be V(false); then nothing else is returned.
  returned: always
  type: bool
name:
  description: The registered model.
  returned: when resolved
  type: str
version:
  description: The version's number.
  returned: when resolved
  type: str
  sample: "3"
run_id:
  description: The run that made it.
  returned: when resolved
  type: str
tags:
  description: The version's tags.
  returned: when resolved
  type: dict
path:
  description: Where its files are.
  returned: when resolved
  type: str
  sample: /var/lib/modelyard/models/iris/3
digest:
  description:
    - The SHA-256 of its C(checksums.json), which stands for all the files.
    - Empty in check mode for a version that is not here and does not have the tag C(modelyard.checksums).
  returned: when resolved
  type: str
bytes:
  description: How much was fetched.
  returned: when resolved
  type: int
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.modelyard.mlops.plugins.module_utils.mlflow_client import (
    MlflowClient,
    MlflowError,
    MlflowMissing,
    MlflowUnreachable,
    ModelVersion,
)
from ansible_collections.modelyard.mlops.plugins.module_utils.model_store import CHECKSUMS_TAG, ModelError, ModelStore

ARGUMENTS: dict[str, t.Any] = {
    "tracking_uri": {"type": "str", "required": True},
    "username": {"type": "str", "default": ""},
    "password": {"type": "str", "default": "", "no_log": True},
    "ca_path": {"type": "path"},
    "name": {"type": "str", "required": True},
    "alias": {"type": "str"},
    "version": {"type": "str"},
    "dest": {"type": "path", "default": "/var/lib/modelyard/models"},
    "timeout": {"type": "float", "default": 30},
}


def resolve(client: MlflowClient, params: dict[str, t.Any]) -> ModelVersion:
    """The version that the task asks for."""
    if params["alias"]:
        return client.aliased(params["name"], params["alias"])
    return client.version(params["name"], params["version"])


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Do the task; returns its result."""
    params = module.params
    client = MlflowClient(
        params["tracking_uri"], params["username"], params["password"], params["ca_path"] or "", params["timeout"]
    )
    store = ModelStore(params["dest"], params["name"])
    try:
        version = resolve(client, params)
    except (MlflowUnreachable, MlflowMissing) as error:
        if not module.check_mode:
            raise
        module.warn(f"what would be fetched is not known yet: {error}")
        return {"changed": True, "resolved": False}

    digest, size = store.digest(version), 0
    changed = digest is None
    if digest is None:
        if module.check_mode:
            digest = version.tags.get(CHECKSUMS_TAG, "")
        else:
            digest, size = store.fetch(client, version)
    shown = f"{version.name} version {version.version} {digest}".strip() + "\n"
    return {
        "changed": changed,
        "resolved": True,
        "name": version.name,
        "version": version.version,
        "run_id": version.run_id,
        "tags": version.tags,
        "path": store.path(version),
        "digest": digest,
        "bytes": size,
        "diff": {"before": "" if changed else shown, "after": shown},
    }


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
        required_one_of=[("alias", "version")],
        mutually_exclusive=[("alias", "version")],
    )
    try:
        module.exit_json(**run(module))
    except (MlflowError, ModelError) as error:
        module.fail_json(msg=f"model {module.params['name']}: {error}")
    except OSError as error:
        module.fail_json(msg=f"model {module.params['name']}: the files cannot be written: {error}")


if __name__ == "__main__":
    main()
