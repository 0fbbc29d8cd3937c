#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
# Apache-2.0 is compatible with the GNU General Public License v3.0, under which Ansible itself is.
"""Bring a release of an app into service without a lost request, or take one back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_release
short_description: Bring a release of an app into service without a lost request, or take one back
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
description:
  - A release is an image, a model version, a configuration and secrets. If the one that is asked for serves already,
    nothing happens. Otherwise it starts in the app's free slot, has to pass its gate, takes over through HAProxy's
    runtime map, is watched, and only then the old one is drained and stopped.
  - If it fails before the switch, the old release notices nothing. If it fails after it, the old release, which still
    runs, serves again at once. The module then fails with the reason and the container's last words.
  - If there is a node_exporter, it shows what the ledger says.
  - The work is done by a process of its own on the host, so it goes on when the controller or the connection dies. The
    task shows each step as it begins.
  - Each step is journaled. A run that died is taken back or finished by the next one, of whatever kind.
  - A release that was rolled back is not deployed again until something in it changes, or O(force) is set.
extends_documentation_fragment:
  - modelyard.mlops.attributes
  - modelyard.mlops.attributes.action
  - modelyard.mlops.app
  - modelyard.mlops.app.record
attributes:
  check_mode:
    support: full
    details: Says what would be started and stopped. Works on a host without engine, ingress or image.
  diff_mode:
    support: full
    details: Shows image, model and configuration of both releases; of a secret only whether it changes.
  idempotent:
    support: partial
    details: Not with O(force), which asks for a new release, nor with O(state=rolled_back) without O(release), which
      goes back by one each time.
  action:
    support: full
    details: Its part on the controller shows the steps as they begin.
options:
  name:
    description: The app. Part of container names, paths and backends.
    type: str
    required: true
  state:
    description: V(present) makes the release described here serve, V(rolled_back) an earlier one.
    type: str
    choices: [present, rolled_back]
    default: present
  image:
    description:
      - Reference of the image on this host. Needed for O(state=present).
      - A digest, an ID, or a tag other than C(latest), which would be another image tomorrow.
    type: str
    default: ""
  image_key:
    description: The image's key, C(sha256:) and 64 digits. Without it, the engine is asked which image O(image) is.
    type: str
    default: ""
  model:
    description: The model that the app serves. Its files must be on this host.
    type: dict
    suboptions:
      name:
        description: The model's name in the registry.
        type: str
        required: true
      version:
        description: Its version.
        type: str
        required: true
      digest:
        description: Digest of its files.
        type: str
        default: ""
      path:
        description: Folder with its files on this host.
        type: path
        required: true
  keep:
    description: How many releases that have served are kept for rollbacks.
    type: int
    default: 5
  release:
    description: For O(state=rolled_back), the release to go back to. Without it, the one that served before.
    type: int
  delivery:
    description:
      - Names a run over several hosts, for the record.
      - With O(state=rolled_back), takes back what this run did. Only if the release that serves came with it, the one
        before returns; and what is left may be deployed again, as nothing is known against it on this host.
    type: str
    default: ""
  force:
    description: Make a new release even if the same one serves, or was rolled back.
    type: bool
    default: false
  follow:
    description: A run that this task has begun, to hear more of. Only the task itself sets it.
    type: str
    default: ""
  seen:
    description: How much of it is known. Only the task itself sets it.
    type: int
    default: 0
notes:
  - Runs as root on the app's host.
seealso:
  - module: modelyard.mlops.app_reconcile
  - module: modelyard.mlops.app_release_info
"""

EXAMPLES = r"""
- name: Serve an app, with only what is required
  modelyard.mlops.app_release:
    name: shop
    image: example/shop:1.4.2
    slots: [18083, 18084]
  become: true

- name: Serve an app with a model, with every option
  modelyard.mlops.app_release:
    name: iris
    state: present
    image: modelyard/iris-api:abc1234
    image_key: "{{ image_transfer_results['modelyard/iris-api:abc1234'].key }}"
    model:
      name: iris
      version: "{{ model.version }}"
      digest: "{{ model.digest }}"
      path: "{{ model.path }}"
    port: 8080
    slots: [18081, 18082]
    env:
      LOG_LEVEL: info
    secrets:
      API_TOKEN: "{{ vault_api_token }}"
    user: "10001"
    memory: 512m
    cpus: 1.5
    pids: 256
    grace: 30
    strategy: blue_green
    keep_previous_running: true
    gate:
      path: /ready
      status: 200
      contains: ready
      in_a_row: 3
      budget: 120
      timeout: 5
    warm_up:
      requests: 5
      path: /predict
      method: POST
      body: "[[5.1, 3.5, 1.4, 0.2]]"
      status: 200
      contains: setosa
    watch:
      seconds: 10
      min_requests: 20
      error_margin_percent: 1
      latency_ratio: 2
      latency_margin_ms: 100
    drain: 30
    keep: 5
    by: "{{ lookup('ansible.builtin.env', 'GITHUB_ACTOR') }}"
    commit: abc1234
    delivery: "{{ lookup('ansible.builtin.env', 'GITHUB_RUN_ID') }}"
    force: false
    break_lock: false
  become: true

- name: Go back to an earlier release, with every other option
  modelyard.mlops.app_release:
    name: iris
    state: rolled_back
    release: 3
    by: "{{ lookup('ansible.builtin.env', 'USER') }}"
    break_lock: true
  become: true

- name: Go back to the release that served before
  modelyard.mlops.app_release:
    name: iris
    state: rolled_back
  become: true
"""

RETURN = r"""
action:
  description:
    - What was, or in check mode would be, done. V(none); V(held) if the wanted release was rolled back and stays away;
      V(redirect) if only the ingress was corrected; V(restore) if the same release had to be started again; V(deploy);
      V(rollback); V(undo) if O(delivery) was taken back.
  returned: success
  type: str
  sample: deploy
reason:
  description: Why, in a sentence.
  returned: success
  type: str
  sample: "changed: image, model"
release:
  description: The release that serves, or in check mode would.
  returned: success
  type: int
  sample: 4
slot:
  description: Where it runs, V(blue) or V(green).
  returned: success
  type: str
  sample: green
image_key:
  description: Its image's key.
  returned: success
  type: str
model_version:
  description: Its model's version; empty without a model.
  returned: success
  type: str
  sample: "3"
recovered:
  description: What was done about an earlier run that died; empty if none had.
  returned: success
  type: str
  sample: took back the deploy of release 3, which died at the step gate
plan:
  description: What starts and what stops, in its order.
  returned: success
  type: list
  elements: str
  sample: [start release 4 in the green slot, stop release 3 in the blue slot]
steps:
  description: Seconds that each step took.
  returned: always
  type: dict
  sample: {"start": 0.4, "gate": 1.2}
downtime:
  description: Seconds in which nothing served; more than 0 only with O(strategy=recreate).
  returned: success
  type: float
  sample: 0.0
log:
  description: The last lines of the container that did not serve.
  returned: failure
  type: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.modelyard.mlops.plugins.module_utils import detached
from ansible_collections.modelyard.mlops.plugins.module_utils.release_options import (
    Options,
    app_options,
    record_options,
)
from ansible_collections.modelyard.mlops.plugins.module_utils.release_run import ERRORS, App


def argument_spec() -> Options:
    """The options, as documented above."""
    return {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "rolled_back"], "default": "present"},
        "image": {"type": "str", "default": ""},
        "image_key": {"type": "str", "default": "", "no_log": False},
        "model": {
            "type": "dict",
            "options": {
                "name": {"type": "str", "required": True},
                "version": {"type": "str", "required": True},
                "digest": {"type": "str", "default": ""},
                "path": {"type": "path", "required": True},
            },
        },
        **app_options(),
        "keep": {"type": "int", "default": 5},
        "release": {"type": "int"},
        "delivery": {"type": "str", "default": ""},
        **record_options(),
        "force": {"type": "bool", "default": False},
        "follow": {"type": "str", "default": ""},
        "seen": {"type": "int", "default": 0},
    }


def main() -> None:
    """Entry point: begin, or hear more of what has begun."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    if module.params["follow"]:
        follow(module, module.params["follow"], module.params["seen"])
    try:
        app = App(module.params, module.check_mode)
        result, anything = app.plan()
    except ERRORS as error:
        module.fail_json(msg=f"{module.params['name']}: {error}")
    if anything and not module.check_mode:
        follow(module, detached.start(app.run), 0)
    warning = "" if module.check_mode else app.publish()
    end(module, {**result, "warnings": [warning] if warning else []})


def follow(module: AnsibleModule, run: str, seen: int) -> t.NoReturn:
    """End with the next news of a run, or with its result."""
    report = detached.follow(run, seen)
    news = {"events": [event._asdict() for event in report.events], "follow": run, "seen": seen + len(report.events)}
    if not report.over:
        module.exit_json(changed=True, progress=news)
    if report.result is None:
        module.fail_json(
            msg=f"{module.params['name']}: the run on this host died. Run again: that ends what it began", progress=news
        )
    end(module, {**report.result, "progress": news})


def end(module: AnsibleModule, result: dict[str, t.Any]) -> t.NoReturn:
    """End with the result of the whole task."""
    if result.get("failed"):
        module.fail_json(**result)
    for warning in result.pop("warnings"):
        module.warn(warning)
    if result["action"] == "held" or result["recovered"]:
        module.warn(f"{result['app']}: {result['recovered'] or result['reason']}")
    module.exit_json(**result, msg=f"{result['app']}: {result['reason']}")


if __name__ == "__main__":
    main()
