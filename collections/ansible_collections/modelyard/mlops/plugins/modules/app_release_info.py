#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Tell what runs on a host, since when, by whom, and how the last deployments ended."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_release_info
short_description: Tell what runs on a host, since when, by whom, and how the last deployments ended
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
description:
  - Reads the ledgers that M(modelyard.mlops.app_release) keeps. Changes nothing.
attributes:
  check_mode:
    support: full
    description: It only reads.
  diff_mode:
    support: none
    description: It only reads.
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
- name: Read the ledgers
  modelyard.mlops.app_release_info:
  register: status
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
lines:
  description: The same as lines to read.
  returned: success
  type: list
  elements: str
"""

import dataclasses
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.modelyard.mlops.plugins.module_utils.ledger import AppStore, Attempt, known_apps
from ansible_collections.modelyard.mlops.plugins.module_utils.release import Release, ReleaseError
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
        "history": [dataclasses.asdict(attempt) for attempt in reversed(ledger.history[-limit:])],
        "unfinished": dataclasses.asdict(journal) if journal else None,
        "deploying": str(Lock(store).holder() or ""),
    }


def tell(app: dict[str, t.Any]) -> list[str]:
    """The same for people."""
    lines = [f"{app['name']}: {_tell_active(app['active']) if app['active'] else 'nothing serves'}"]
    if app["held"]:
        lines.append(f"  rolled back, not deployed again by itself: {', '.join(map(str, app['held']))}")
    if app["unfinished"]:
        journal = app["unfinished"]
        who = app["deploying"]
        how = f"is at the step {journal['step']}, by {who}" if who else f"died at the step {journal['step']}"
        what = f"the {journal['action']} of release {journal['release']}"
        lines.append(f"  {what} {how}" + ("" if who else ": the next run ends it"))
    return [*lines, *(_tell_attempt(Attempt(**attempt)) for attempt in app["history"])]


def _tell_active(active: dict[str, t.Any]) -> str:
    release = Release.from_json(active)
    model = f", model {release.model['name']} {release.model['version']}" if release.model else ""
    place = f"serves from the {active['slot']} slot since {active['since']}"
    return f"release {release.number} ({release.image}{model}) {place}, {_author(release.by, release.commit)}"


def _tell_attempt(attempt: Attempt) -> str:
    author = _author(attempt.by, attempt.commit)
    reason = f": {attempt.reason.splitlines()[0]}" if attempt.reason else ""
    downtime = f", nothing served for {attempt.downtime:g} s" if attempt.downtime else ""
    what = f"{attempt.action} of release {attempt.release} {attempt.outcome}"
    return f"  {attempt.started}  {what}, {author}{downtime}{reason}"


def _author(by: str, commit: str) -> str:
    return f"by {by or 'somebody'}" + (f" from commit {commit}" if commit else "")


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
    module.exit_json(changed=False, apps=apps, lines=[line for app in apps for line in tell(app)])


if __name__ == "__main__":
    main()
