#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
# Apache-2.0 is compatible with the GNU General Public License v3.0, under which Ansible itself is.
"""One transaction for a service's configuration tree."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_config
short_description: Change a service's configuration as one transaction
version_added: "0.1.0"
author: The Modelyard authors (@modelyard)
description:
  - Compares the files that a service's configuration folder should hold with what it holds, and deletes what the
    owned folders in it should not hold.
  - The new tree is validated as a whole by the service's own tool, in a private copy, before any file moves. Then
    each file is replaced atomically, the service is reloaded or restarted, and the module watches that it works.
  - If it does not, the former files are put back, the service is told again, and the module fails with the reason
    and the service's last journal lines.
  - A run which dies in the middle is finished, or taken back, by the next one.
extends_documentation_fragment:
  - modelyard.mlops.attributes
attributes:
  check_mode:
    support: full
    details: Works before the service, its user or its validator is installed.
  diff_mode:
    support: full
    details: Contents and attributes; of a secret only that it changes.
  idempotent:
    support: full
options:
  root:
    description: The service's configuration folder; created if it is missing.
    type: path
    required: true
  files:
    description: Path relative to O(root), and the text of each file. Parent folders are created.
    type: dict
    default: {}
  secrets:
    description: Like O(files), for what must never be shown. A path is either in O(files) or here.
    type: dict
    default: {}
  owned:
    description:
      - Folders in O(root) that belong to this task alone. They are created; files in them that are neither in
        O(files) nor in O(secrets) are deleted.
    type: list
    elements: str
    default: []
  allow_empty:
    description: Whether an owned folder that holds files may be emptied altogether.
    type: bool
    default: false
  units:
    description:
      - Files below C(/etc/systemd/system) which belong to the same transaction, such as the unit itself or
        C(NAME.service.d/modelyard.conf), and their text. A change in them restarts the service.
    type: dict
    default: {}
  owner:
    description: Owner of the files, by name or number. Without it, what exists keeps its owner.
    type: str
  group:
    description: Group of the files, by name or number. Without it, what exists keeps its group.
    type: str
  mode:
    description: Mode of the files, as a quoted octal number.
    type: raw
    default: "0644"
  secret_mode:
    description: Mode of the secrets, as a quoted octal number.
    type: raw
    default: "0600"
  directory_mode:
    description:
      - Mode of O(root) and of each folder in it that holds something of this task, as a quoted octal number.
      - Without it, existing folders keep mode and owner, and new ones get C(0755).
    type: raw
  validate:
    description:
      - Command, as a list, that checks the configuration. C({root}) in it stands for a private copy of the whole
        O(root) as it will be; the command runs inside that copy. Refer to other files by relative paths.
      - In check mode it is left out when its program is not installed yet.
    type: list
    elements: str
    default: []
  service:
    description: The systemd unit that reads this configuration. Started, when that changes, if it does not run.
    type: str
  enabled:
    description:
      - Whether O(service) has to run whenever this task has, changed or not, and after a boot. Without this, what
        starts the service is somebody else's.
    type: bool
    default: false
  action:
    description: What makes the service read its configuration.
    type: str
    choices: [reload, restart]
    default: reload
  verify:
    description: How the service shows that it works with its new configuration. Needs O(service).
    type: dict
    suboptions:
      url:
        description: Address asked until all is as it should be.
        type: str
        required: true
      socket:
        description: Unix socket behind which O(verify.url) is, instead of a port.
        type: path
        default: ""
      status:
        description: Expected HTTP status.
        type: int
        default: 200
      contains:
        description: Text that the answer must contain.
        type: str
        default: ""
      newer:
        description:
          - Name of a metric in the answer that holds the time of the last successful load of the configuration. It
            must be later than the reload, which proves that the service did not keep its former configuration.
        type: str
        default: ""
      timeout:
        description: Seconds to wait for all of this.
        type: int
        default: 30
"""

EXAMPLES = r"""
- name: Write a file that no service reads, with only what is required
  modelyard.mlops.service_config:
    root: /etc/team
    files:
      contact.txt: "{{ team_contact }}"
  become: true

- name: Configure Prometheus, with every option
  modelyard.mlops.service_config:
    root: /etc/prometheus
    files:
      prometheus.yml: "{{ lookup('ansible.builtin.template', 'prometheus.yml.j2') }}"
      rules/team.yml: "{{ lookup('ansible.builtin.file', 'team.yml') }}"
    secrets:
      secrets/remote_write_password: "{{ vault_prometheus_remote_write_password }}"
    owned: [rules, secrets]
    allow_empty: true
    units:
      prometheus.service: "{{ lookup('ansible.builtin.template', 'prometheus.service.j2') }}"
    owner: root
    group: prometheus
    mode: "0640"
    secret_mode: "0640"
    directory_mode: "0750"
    validate: [promtool, check, config, "{root}/prometheus.yml"]
    service: prometheus
    enabled: true
    action: reload
    verify:
      url: http://127.0.0.1:9090/metrics
      newer: prometheus_config_last_reload_success_timestamp_seconds
      timeout: 120
  become: true

- name: Configure the Docker engine, which answers behind a socket, with every other option
  modelyard.mlops.service_config:
    root: /etc/docker
    files:
      daemon.json: "{{ docker_daemon | to_nice_json }}"
    validate: [dockerd, --validate, --config-file, "{root}/daemon.json"]
    service: docker
    action: restart
    verify:
      url: http://localhost/_ping
      socket: /var/run/docker.sock
      status: 200
      contains: OK
  become: true
"""

RETURN = r"""
changed_files:
  description: Paths that were, or in check mode would be, written or given other attributes.
  returned: success
  type: list
  elements: str
  sample: [/etc/prometheus/prometheus.yml]
deleted_files:
  description: Paths that were, or in check mode would be, deleted.
  returned: success
  type: list
  elements: str
  sample: [/etc/prometheus/rules/old.yml]
reloaded:
  description: Whether the service was, or in check mode would be, told.
  returned: success
  type: bool
  sample: true
applied:
  description: How the service was told, V(reload) or V(restart); empty if it was not.
  returned: success
  type: str
  sample: reload
resumed:
  description: Whether an earlier run had died before it saw the service work; then the service is told in any case.
  returned: success
  type: bool
  sample: false
started:
  description: Whether the service did not run, and was, or in check mode would be, started without another change.
  returned: success
  type: bool
  sample: false
enabled:
  description: Whether the service was, or in check mode would be, made to run after a boot.
  returned: success
  type: bool
  sample: false
"""

import grp
import os
import pwd
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.modelyard.mlops.plugins.module_utils.owned import (
    MISSING_ID,
    ConfigError,
    DesiredFile,
    Tree,
    relative_path,
)
from ansible_collections.modelyard.mlops.plugins.module_utils.service_config import (
    UNIT_FOLDER,
    Request,
    Systemd,
    Verify,
    converge,
)


def _mode(option: str, value: Any) -> int:
    """Parse a mode. A bare number is refused: YAML may have read it as octal already, or not."""
    try:
        if not isinstance(value, str):
            raise ValueError
        mode = int(value, 8)
        if not 0 <= mode <= 0o7777:
            raise ValueError
        return mode
    except ValueError:
        raise ConfigError(
            f'{option}: {value!r} is not a mode; write it as a quoted octal number such as "0640"'
        ) from None


def _number(option: str, name: str | None, look_up: Callable[[str], int], check: bool) -> int | None:
    if name is None or name.isdigit():
        return None if name is None else int(name)
    try:
        return look_up(name)
    except KeyError:
        if check:
            return MISSING_ID
        raise ConfigError(f"{option}: {name!r} does not exist on this host; create it before this task") from None


def _files(option: str, values: dict[str, Any], mode: int, secret: bool = False) -> dict[str, DesiredFile]:
    files = {}
    for path, text in values.items():
        if not isinstance(text, str):
            raise ConfigError(
                f"{option}: the content of {path!r} is a {type(text).__name__}, not text; "
                "turn it into text with to_json, to_nice_yaml or string"
            )
        files[relative_path(option, path)] = DesiredFile(text.encode("utf-8"), mode, secret)
    return files


def _request(parameters: dict[str, Any], check: bool) -> Request:
    files = _files("files", parameters["files"], _mode("mode", parameters["mode"]))
    secret_mode = _mode("secret_mode", parameters["secret_mode"])
    secrets = _files("secrets", parameters["secrets"], secret_mode, secret=True)
    both = sorted(set(files) & set(secrets))
    if both:
        raise ConfigError(f"secrets: {', '.join(both)} is also in files; a path is one or the other")
    root = os.path.realpath(parameters["root"])
    if root == "/":
        raise ConfigError("root: must be a folder of the service, not the whole file system")
    directory_mode = parameters["directory_mode"]
    tree = Tree(
        root=root,
        files={**files, **secrets},
        owned=tuple(relative_path("owned", path.rstrip("/")) for path in parameters["owned"]),
        allow_empty=parameters["allow_empty"],
        uid=_number("owner", parameters["owner"], lambda name: pwd.getpwnam(name).pw_uid, check),
        gid=_number("group", parameters["group"], lambda name: grp.getgrnam(name).gr_gid, check),
        directory_mode=None if directory_mode is None else _mode("directory_mode", directory_mode),
        secret_mode=secret_mode,
    )
    units = None
    if parameters["units"]:
        units = Tree(root=UNIT_FOLDER, files=_files("units", parameters["units"], 0o644), uid=0, gid=0)
    return Request(
        tree=tree,
        units=units,
        validate=parameters["validate"],
        service=Systemd(parameters["service"]) if parameters["service"] else None,
        enabled=parameters["enabled"],
        action=parameters["action"],
        verify=Verify(**parameters["verify"]) if parameters["verify"] else None,
        check=check,
    )


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "files": {"type": "dict", "default": {}},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "owned": {"type": "list", "elements": "str", "default": []},
            "allow_empty": {"type": "bool", "default": False},
            "units": {"type": "dict", "default": {}},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "mode": {"type": "raw", "default": "0644"},
            "secret_mode": {"type": "raw", "default": "0600", "no_log": False},
            "directory_mode": {"type": "raw"},
            "validate": {"type": "list", "elements": "str", "default": []},
            "service": {"type": "str"},
            "enabled": {"type": "bool", "default": False},
            "action": {"type": "str", "choices": ["reload", "restart"], "default": "reload"},
            "verify": {
                "type": "dict",
                "options": {
                    "url": {"type": "str", "required": True},
                    "socket": {"type": "path", "default": ""},
                    "status": {"type": "int", "default": 200},
                    "contains": {"type": "str", "default": ""},
                    "newer": {"type": "str", "default": ""},
                    "timeout": {"type": "int", "default": 30},
                },
            },
        },
        required_by={"verify": ["service"]},
        required_if=[("enabled", True, ["service"])],
        supports_check_mode=True,
    )
    try:
        outcome = converge(_request(module.params, module.check_mode))
    except (ConfigError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=outcome.changed,
        changed_files=outcome.changed_files,
        deleted_files=outcome.deleted_files,
        reloaded=bool(outcome.applied),
        applied=outcome.applied,
        resumed=outcome.resumed,
        started=outcome.started,
        enabled=outcome.enabled,
        diff=outcome.diff,
    )


if __name__ == "__main__":
    main()
