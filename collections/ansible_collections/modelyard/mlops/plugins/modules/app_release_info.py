#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
# Apache-2.0 is compatible with the GNU General Public License v3.0, under which Ansible itself is.
"""Tell what runs on a host, since when, by whom, and how the last deployments ended."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_release_info
short_description: Tell what runs on a host, since when, by whom, and how the last deployments ended
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
description:
  - Reads the ledgers that M(modelyard.mlops.app_release) keeps. Changes nothing.
extends_documentation_fragment:
  - modelyard.mlops.attributes
attributes:
  check_mode:
    support: full
    details: It only reads.
  diff_mode:
    support: N/A
    details: It changes nothing that could be shown.
  idempotent:
    support: full
    details: It changes nothing.
options:
  name:
    description: One app; without it, all.
    type: str
  limit:
    description: How many deployments of each app to tell, the latest first.
    type: int
    default: 10
"""

EXAMPLES = r"""
- name: Read the ledgers, with only what is required
  modelyard.mlops.app_release_info:
  become: true
  register: status

- name: Read the last three deployments of one app, with every option
  modelyard.mlops.app_release_info:
    name: iris
    limit: 3
  become: true
  register: iris
"""

RETURN = r"""
apps:
  description: What each app's ledger says.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The app.
      type: str
    active:
      description: The release that serves, in full, with its slot and since when; none if nothing serves.
      type: dict
    held:
      description: Releases that were rolled back and do not return by themselves.
      type: list
      elements: int
    releases:
      description: The kept releases that have served, the one that served last first; without their configuration.
      type: list
      elements: dict
    history:
      description: The last deployments, the latest first.
      type: list
      elements: dict
    unfinished:
      description: The deployment that is under way, or died.
      type: dict
    deploying:
      description: Who deploys at this moment, and since when; empty if nobody does.
      type: str
"""

import dataclasses
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.modelyard.mlops.plugins.module_utils.ledger import AppStore, known_apps
from ansible_collections.modelyard.mlops.plugins.module_utils.release import ReleaseError
from ansible_collections.modelyard.mlops.plugins.module_utils.release_lock import Lock


def read(store: AppStore, limit: int) -> dict[str, t.Any]:
    """One app's ledger, with the active release in full."""
    ledger = store.ledger()
    journal = store.journal()
    active = None
    if ledger.active:
        active = {**store.release(ledger.active.release).to_json(), **dataclasses.asdict(ledger.active)}
    return {
        "name": store.name,
        "active": active,
        "held": ledger.held,
        "releases": _kept(store, ledger.served()),
        "history": [dataclasses.asdict(attempt) for attempt in reversed(ledger.history[-limit:])],
        "unfinished": dataclasses.asdict(journal) if journal else None,
        "deploying": str(Lock(store).holder() or ""),
    }


def _kept(store: AppStore, numbers: t.Sequence[int]) -> list[dict[str, t.Any]]:
    """Those of the releases that are kept, as far as it matters for telling them apart."""
    known = set(store.numbers())
    releases = [store.release(number) for number in numbers if number in known]
    return [
        {
            "number": release.number,
            "image": release.image,
            "image_key": release.image_key,
            "model": {key: value for key, value in release.model.items() if key != "path"},
            "commit": release.commit,
            "created": release.created,
        }
        for release in releases
    ]


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={"name": {"type": "str"}, "limit": {"type": "int", "default": 10}},
        supports_check_mode=True,
    )
    wanted = module.params["name"]
    try:
        names = [name for name in known_apps() if wanted in (None, name)]
        apps = [read(AppStore(name), module.params["limit"]) for name in names]
    except (ReleaseError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, apps=apps)


if __name__ == "__main__":
    main()
