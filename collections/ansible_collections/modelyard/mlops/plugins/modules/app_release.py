#!/usr/bin/python
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
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
  - Each step is journaled. A run that died is taken back or finished by the next one, of whatever kind.
  - A release that was rolled back is not deployed again until something in it changes, or O(force) is set.
attributes:
  check_mode:
    support: full
    description: Says what would be started and stopped. Works on a host without engine, ingress or image.
  diff_mode:
    support: full
    description: Shows image, model and configuration of both releases; of a secret only whether it changes.
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
    description: Reference of the image on this host. Needed for O(state=present).
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
  port:
    description: Port in the container; the app gets it as E(PORT).
    type: int
    default: 8080
  slots:
    description: The two loopback ports, blue and green. Needed for O(state=present).
    type: list
    elements: int
    default: []
  env:
    description: Configuration of the app. Not for secrets.
    type: dict
    default: {}
  secrets:
    description: Values that the app finds as files below C(/run/secrets), readable for its own user alone.
    type: dict
    default: {}
  user:
    description: User that the container runs as, instead of the image's.
    type: str
    default: ""
  memory:
    description: Memory limit of the container.
    type: str
    default: 512m
  pids:
    description: Limit of processes and threads.
    type: int
    default: 256
  grace:
    description: Seconds that a stopping container has to finish.
    type: int
    default: 30
  gate:
    description: When a new release is ready to serve.
    type: dict
    default: {}
    suboptions:
      path:
        description: Path to ask.
        type: str
        default: /ready
      status:
        description: The right status.
        type: int
        default: 200
      contains:
        description: Text that the right answer contains.
        type: str
        default: ""
      in_a_row:
        description: Right answers in a row that are needed.
        type: int
        default: 3
      budget:
        description: Seconds until it must be ready.
        type: int
        default: 60
      timeout:
        description: Seconds for one answer.
        type: int
        default: 5
  warm_up:
    description: Requests to a ready release before it serves.
    type: dict
    default: {}
    suboptions:
      requests:
        description: How many.
        type: int
        default: 0
      path:
        description: Path.
        type: str
        default: /
      method:
        description: Method.
        type: str
        default: GET
      body:
        description: Body, sent as JSON.
        type: str
        default: ""
      status:
        description: The right status.
        type: int
        default: 200
  watch:
    description: How a release that has just begun to serve is watched.
    type: dict
    default: {}
    suboptions:
      seconds:
        description: For how long.
        type: float
        default: 3.0
      max_error_percent:
        description: Share of its requests that may fail, of those through the ingress.
        type: float
        default: 5.0
  drain:
    description: Seconds that requests to the old release have to end before its container is told to stop.
    type: int
    default: 30
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
  by:
    description: Who deploys, for the record.
    type: str
    default: ""
  commit:
    description: From which commit, for the record.
    type: str
    default: ""
  force:
    description: Make a new release even if the same one serves, or was rolled back.
    type: bool
    default: false
  break_lock:
    description: Take the deployment lock from a run that hangs. That run stops before its next step.
    type: bool
    default: false
notes:
  - Runs as root on the app's host.
seealso:
  - module: modelyard.mlops.app_reconcile
  - module: modelyard.mlops.app_release_info
"""

EXAMPLES = r"""
- name: Serve an app
  modelyard.mlops.app_release:
    name: iris
    image: modelyard/iris-api:abc1234
    model:
      name: iris
      version: "3"
      path: /var/lib/modelyard/models/iris/3
    slots: [18081, 18082]
    gate:
      budget: 120

- name: Go back to the release that served before
  modelyard.mlops.app_release:
    name: iris
    state: rolled_back
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
steps:
  description: Seconds that each step took.
  returned: always
  type: dict
  sample: {"start": 0.4, "gate": 1.2}
log:
  description: The last lines of the container that did not serve.
  returned: failure
  type: str
"""

import os
import re
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.modelyard.mlops.plugins.module_utils.container import ContainerError, parse_size
from ansible_collections.modelyard.mlops.plugins.module_utils.engine import Engine, EngineError, EngineUnreachable
from ansible_collections.modelyard.mlops.plugins.module_utils.haproxy import HaproxyError, Router, Runtime, SlotMap
from ansible_collections.modelyard.mlops.plugins.module_utils.ledger import AppStore, Lock, LockError, now
from ansible_collections.modelyard.mlops.plugins.module_utils.release import (
    SLOTS,
    Release,
    ReleaseError,
    check_name,
    check_slots,
    describe,
    differences,
    other,
    seal,
)
from ansible_collections.modelyard.mlops.plugins.module_utils.release_figures import publish_figures
from ansible_collections.modelyard.mlops.plugins.module_utils.release_flow import Decision, Delivery, Refused, decide
from ansible_collections.modelyard.mlops.plugins.module_utils.release_gate import ask
from ansible_collections.modelyard.mlops.plugins.module_utils.release_slots import (
    Slots,
    check_room,
    find_image,
    image_key,
)

_SECRET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")

Options = dict[str, t.Any]


def argument_spec() -> Options:
    """The options, as documented above."""

    def group(**options: Options) -> Options:
        return {"type": "dict", "default": {}, "apply_defaults": True, "options": options}

    def text(default: str = "") -> Options:
        return {"type": "str", "default": default}

    def number(default: int) -> Options:
        return {"type": "int", "default": default}

    model = {
        "name": {"type": "str", "required": True},
        "version": {"type": "str", "required": True},
        "digest": text(),
        "path": {"type": "path", "required": True},
    }
    return {
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "rolled_back"], "default": "present"},
        "image": text(),
        "image_key": text(),
        "model": {"type": "dict", "options": model},
        "port": number(8080),
        "slots": {"type": "list", "elements": "int", "default": []},
        "env": {"type": "dict", "default": {}},
        "secrets": {"type": "dict", "default": {}, "no_log": True},
        "user": text(),
        "memory": text("512m"),
        "pids": number(256),
        "grace": number(30),
        "gate": group(
            path=text("/ready"),
            status=number(200),
            contains=text(),
            in_a_row=number(3),
            budget=number(60),
            timeout=number(5),
        ),
        "warm_up": group(requests=number(0), path=text("/"), method=text("GET"), body=text(), status=number(200)),
        "watch": group(seconds={"type": "float", "default": 3.0}, max_error_percent={"type": "float", "default": 5.0}),
        "drain": number(30),
        "keep": number(5),
        "release": {"type": "int"},
        "delivery": text(),
        "by": text(),
        "commit": text(),
        "force": {"type": "bool", "default": False},
        "break_lock": {"type": "bool", "default": False},
    }


class App:
    """One app on this host, with all that its deployment needs."""

    def __init__(self, options: Options, check_mode: bool) -> None:
        self._options = options
        self._check_mode = check_mode
        self._store = AppStore(check_name(options["name"]))
        self._engine = Engine()
        self._router = Router(Runtime(), SlotMap())
        self._lock = Lock(self._store)
        self.warning = ""
        self.delivery = Delivery(
            self._store,
            Slots(self._engine, self._store.name),
            self._router,
            ask,
            time,
            self._lock.check,
        )

    def run(self) -> Options:
        """Do what the options ask, and return the module's result."""
        work = self._present if self._options["state"] == "present" else self._roll_back
        if self._check_mode:
            return self._with_recovery(work(), self._unfinished())
        # Longer than any run that is in order.
        limit = sum(self._options[name] for name in ("drain", "grace")) + self._options["gate"]["budget"] + 120
        self._lock.acquire(self._options["by"] or "somebody", limit, self._options["break_lock"])
        try:
            recovered = self.delivery.recover() or ""
            result = work()
        finally:
            self.warning = publish_figures(self._store)
            self._lock.release()
        return self._with_recovery(result, recovered)

    def _unfinished(self) -> str:
        journal = self._store.journal()
        return f"would first end the {journal.action} of release {journal.release}, which died" if journal else ""

    def _with_recovery(self, result: Options, recovered: str) -> Options:
        return {**result, "changed": result["changed"] or bool(recovered), "recovered": recovered}

    def _present(self) -> Options:
        ledger = self._store.ledger()
        wanted = self._wanted()
        active = self._store.release(ledger.active.release) if ledger.active else None
        problem, route_is_right = None, True
        if ledger.active and active:
            problem = self.delivery.problem(ledger.active, active)
            route_is_right = self.delivery.route_is_right(ledger.active)
        held = [self._store.release(number) for number in ledger.held]
        decision = decide(active, wanted, held, problem, route_is_right, self._options["force"])
        if not self._check_mode:
            if decision.action == "deploy":
                self._prepare(wanted)
                self._store.add(wanted, self._options["secrets"])
                self._deliver(wanted, "deploy")
            elif decision.action == "restore" and active:
                self._prepare(active)
                self._deliver(active, "restore")
            elif decision.action == "redirect" and ledger.active:
                self.delivery.redirect(ledger.active)
        new = wanted if decision.action == "deploy" else active
        return self._result(decision, active, new or wanted)

    def _roll_back(self) -> Options:
        ledger = self._store.ledger()
        delivery = self._options["delivery"]
        if delivery and not ledger.brought_by(delivery):
            return {"changed": False, "action": "none", "reason": f"nothing that serves came with {delivery}"}
        if ledger.active is None:
            raise ReleaseError("nothing serves this app on this host, so there is nothing to go back from")
        active = self._store.release(ledger.active.release)
        number = self._options["release"]
        if number is None:
            kept = self._store.numbers()
            earlier = [item for item in ledger.served() if item in kept and item not in (active.number, *ledger.held)]
            if not earlier and delivery:
                return self._result(Decision("none", "it was the first release on this host"), active, active)
            if not earlier:
                raise ReleaseError(f"release {active.number} serves, and no earlier release is kept on this host")
            number = earlier[0]
        target = self._store.release(number)
        if number == active.number:
            return self._result(Decision("none", f"release {number} serves"), active, active)
        if number not in ledger.served():
            raise ReleaseError(f"release: {number} has never passed its gate, so it is nothing to go back to")
        action = "undo" if delivery else "rollback"
        if not self._check_mode:
            self._prepare(target)
            self._deliver(target, action)
        decision = Decision(action, f"from release {active.number}", differences(active, target))
        return self._result(decision, active, target)

    def _wanted(self) -> Release:
        options = self._options
        secrets = {name: str(value) for name, value in options["secrets"].items()}
        for name in secrets:
            if not _SECRET_NAME.fullmatch(name):
                raise ReleaseError(f"secrets: '{name}' cannot be a file name: use letters, digits, _, - and .")
        options["secrets"] = secrets
        config = {
            "port": options["port"],
            "slots": check_slots(options["slots"]),
            "env": {name: str(value) for name, value in sorted(options["env"].items())},
            "memory": parse_size(options["memory"]),
            "pids": options["pids"],
            "user": options["user"],
            "grace": options["grace"],
        }
        key = self._store.fingerprint_key(create=bool(secrets) and not self._check_mode)
        return Release(
            number=self._store.next_number(),
            image=options["image"],
            image_key=self._image_key(),
            model=dict(options["model"] or {}),
            config=config,
            secrets=seal(secrets, key),
            delivery={name: options[name] for name in ("gate", "warm_up", "watch", "drain", "keep")},
            by=options["by"],
            commit=options["commit"],
            created=now(),
        )

    def _image_key(self) -> str:
        """The key as given, or as the engine knows it. A preview may run before there is an image, or an engine."""
        key, image = self._options["image_key"], self._options["image"]
        if key:
            return str(key)
        if not image:
            raise ReleaseError("image: name the image to serve, or give its image_key")
        try:
            return image_key(self._engine, image)
        except (ReleaseError, EngineUnreachable):
            if self._check_mode:
                return ""
            raise

    def _prepare(self, release: Release) -> None:
        """Refuse what cannot work, before anything on this host changes."""
        find_image(self._engine, release.image_key, release.image)
        if release.model and not os.path.isdir(release.model["path"]):
            raise ReleaseError(f"model: {release.model['path']} does not exist: let mlflow_model fetch it first")
        for slot in SLOTS:
            address, wanted = self._router.address(self._store.name, slot), f"127.0.0.1:{release.port(slot)}"
            if address != wanted:
                raise ReleaseError(
                    f"slots: the ingress expects the {slot} slot at {address}, and this release uses {wanted}: "
                    "run the role ingress with the same app list first"
                )
        check_room(self._engine, release.config["memory"])

    def _deliver(self, release: Release, action: str) -> None:
        self.delivery.deliver(release, action, self._options["by"], self._options["commit"], self._options["delivery"])

    def _result(self, decision: Decision, before: Release | None, after: Release) -> Options:
        active = self._store.ledger().active
        slot = active.slot if active else self._router.file_slot(self._store.name)
        moves = decision.action in ("deploy", "restore", "rollback", "undo")
        if self._check_mode and moves:
            slot = other(slot)
        return {
            "changed": decision.action not in ("none", "held"),
            "app": self._store.name,
            "action": decision.action,
            "reason": decision.reason,
            "release": after.number,
            "slot": slot or "",
            "image_key": after.image_key,
            "model_version": after.model.get("version", ""),
            "steps": self.delivery.steps,
            "diff": _diff(self._store.name, decision, before, after, slot or ""),
        }


def _diff(app: str, decision: Decision, before: Release | None, after: Release, slot: str) -> Options:
    if decision.action in ("none", "held"):
        return {"before": "", "after": ""}
    return {
        "before_header": f"{app}: release {before.number}" if before else f"{app}: not deployed",
        "after_header": f"{app}: release {after.number} in slot {slot} ({decision.action}, {decision.reason})",
        "before": describe(before),
        "after": describe(after, before),
    }


def main() -> None:
    """Entry point."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    name, steps = module.params["name"], {}
    try:
        app = App(module.params, module.check_mode)
        try:
            result = app.run()
        finally:
            steps = app.delivery.steps
            if app.warning:
                module.warn(app.warning)
    except Refused as refused:
        module.fail_json(msg=str(refused), log=refused.log, steps=steps)
    except (ReleaseError, LockError, ContainerError, HaproxyError, EngineError, EngineUnreachable, OSError) as error:
        module.fail_json(msg=f"{name}: {error}", steps=steps)
    if result["action"] == "held" or result["recovered"]:
        module.warn(f"{name}: {result['recovered'] or result['reason']}")
    module.exit_json(**{**result, "msg": f"{name}: {result['reason']}"})


if __name__ == "__main__":
    main()
