#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
# Apache-2.0 is compatible with the GNU General Public License v3.0, under which Ansible itself is.
"""Remove the apps from a host that code no longer names."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_reconcile
short_description: Remove the apps from a host that code no longer names
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
description:
  - Takes each app that M(modelyard.mlops.app_release) once deployed and that O(apps) does not name out of the ingress,
    drains and stops it in the way in which it was deployed, and removes its containers, releases, secrets and figures.
    Its history stays.
  - Containers without the label C(modelyard.app) are none of its business.
extends_documentation_fragment:
  - modelyard.mlops.attributes
  - modelyard.mlops.app.record
attributes:
  check_mode:
    support: full
    details: Names the apps that would go. Works on a host without engine or ingress.
  diff_mode:
    support: full
    details: Shows the apps on the host before and after.
  idempotent:
    support: full
options:
  apps:
    description: The names of the apps that stay.
    type: list
    elements: str
    required: true
  allow_empty:
    description: Whether an empty list may remove all apps of a host that has some.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Remove what is not in the list any more, with only what is required
  modelyard.mlops.app_reconcile:
    apps: "{{ app_deploy_apps | map(attribute='name') }}"
  become: true

- name: Remove all apps, with every option
  modelyard.mlops.app_reconcile:
    apps: []
    allow_empty: true
    by: "{{ lookup('ansible.builtin.env', 'USER') }}"
    commit: abc1234
    break_lock: true
  become: true
"""

RETURN = r"""
removed:
  description: The apps that were, or in check mode would be, removed.
  returned: success
  type: list
  elements: str
  sample: [old-demo]
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.modelyard.mlops.plugins.module_utils.engine import Engine, EngineError, EngineUnreachable
from ansible_collections.modelyard.mlops.plugins.module_utils.haproxy import HaproxyError, Router, Runtime, SlotMap
from ansible_collections.modelyard.mlops.plugins.module_utils.ledger import AppStore, known_apps
from ansible_collections.modelyard.mlops.plugins.module_utils.release import ReleaseError
from ansible_collections.modelyard.mlops.plugins.module_utils.release_figures import withdraw_figures
from ansible_collections.modelyard.mlops.plugins.module_utils.release_flow import Delivery
from ansible_collections.modelyard.mlops.plugins.module_utils.release_gate import ask
from ansible_collections.modelyard.mlops.plugins.module_utils.release_lock import Lock, LockError
from ansible_collections.modelyard.mlops.plugins.module_utils.release_options import record_options
from ansible_collections.modelyard.mlops.plugins.module_utils.release_secrets import MemorySecrets
from ansible_collections.modelyard.mlops.plugins.module_utils.release_slots import APP_LABEL, Slots

# Seconds after which a removal seems to hang.
LONGEST = 300.0


def apps_on_host(engine: Engine, router: Router, check_mode: bool) -> set[str]:
    """Every app that has a route, a container or a release here."""
    found = {name for name in known_apps() if AppStore(name).numbers()}
    try:
        found |= router.apps()
        containers = engine.get("/containers/json", all=True, filters={"label": [APP_LABEL]})
    except (HaproxyError, EngineUnreachable):
        if check_mode:
            return found
        raise
    return found | {container["Labels"][APP_LABEL] for container in containers}


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "apps": {"type": "list", "elements": "str", "required": True},
            "allow_empty": {"type": "bool", "default": False},
            **record_options(),
        },
        supports_check_mode=True,
    )
    options = module.params
    engine, router = Engine(), Router(Runtime(), SlotMap())
    try:
        found = apps_on_host(engine, router, module.check_mode)
        removed = sorted(found - set(options["apps"]))
        if removed and not options["apps"] and not options["allow_empty"]:
            module.fail_json(
                msg=f"apps: the list is empty and {', '.join(removed)} would go; if that is meant, set allow_empty"
            )
        for name in [] if module.check_mode else removed:
            store = AppStore(name)
            lock = Lock(store)
            lock.acquire(options["by"] or "somebody", LONGEST, options["break_lock"])
            try:
                slots = Slots(engine, name, MemorySecrets(name, store.secrets_folder))
                Delivery(store, slots, router, ask, time, lock.check).remove(options["by"], options["commit"])
            finally:
                lock.release()
        # Also of an app that never served: its last figure would say for ever that its deployment failed.
        for name in [] if module.check_mode else set(known_apps()) - set(options["apps"]):
            warning = withdraw_figures(name)
            if warning:
                module.warn(warning)
    except (ReleaseError, LockError, HaproxyError, EngineError, EngineUnreachable, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(removed),
        removed=removed,
        diff={
            "before": "".join(f"{name}\n" for name in sorted(found)),
            "after": "".join(f"{name}\n" for name in sorted(found - set(removed))),
        },
    )


if __name__ == "__main__":
    main()
