# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""One run for one app: what is wanted, what serves, what has to happen, and its doing."""

from __future__ import annotations

import os
import time
import typing as t
from dataclasses import replace

from .container import ContainerError, need_image
from .detached import Result, Tell
from .engine import Engine, EngineError, EngineUnreachable
from .haproxy import HaproxyError, Router, Runtime, SlotMap
from .ledger import STATE_ROOT, AppStore, Ledger
from .model_store import ModelError, verify
from .release import SLOTS, Release, ReleaseError, describe, other
from .release_figures import publish_figures
from .release_flow import Delivery, Refused
from .release_gate import ask
from .release_lock import Lock, LockError
from .release_options import Options, app_problems, longest_run, name_problems, secret_values, wanted_release
from .release_plan import DEPLOYS, Decision, decide, moves
from .release_room import check_disk, check_memory
from .release_secrets import MemorySecrets
from .release_slots import Slots

# Where an engine that is not there yet will have its files.
ENGINE_ROOT = "/var/lib/docker"

# What a run can end with that its user can understand and mend.
ERRORS = (ReleaseError, LockError, ContainerError, HaproxyError, EngineError, EngineUnreachable, OSError)


class App:
    """One app on this host, with all that its deployment needs."""

    def __init__(self, options: Options, check_mode: bool = False) -> None:
        self._options = options
        self._check_mode = check_mode
        wrong = app_problems(options) if options["state"] == "present" else name_problems(options["name"])
        if wrong:
            raise ReleaseError("; ".join(wrong))
        self._store = AppStore(options["name"])
        self._engine = Engine()
        self._router = Router(Runtime(), SlotMap())
        self._lock = Lock(self._store)
        secrets = MemorySecrets(self._store.name, self._store.secrets_folder)
        self._slots = Slots(self._engine, self._store.name, secrets)
        self._tell: Tell = lambda _text: None
        self.delivery = Delivery(self._store, self._slots, self._router, ask, time, self._lock.check, self._say)

    def _say(self, text: str) -> None:
        self._tell(text)

    def plan(self) -> tuple[Result, bool]:
        """What a run would do, and whether that is anything. Changes nothing."""
        ledger = self._store.ledger()
        journal = self._store.journal()
        if self._options["delivery"] and self._options["state"] == "rolled_back" and not (ledger.active or journal):
            reason = "nothing serves this app on this host"
            name = self._store.name
            return {"changed": False, "app": name, "action": "none", "reason": reason, "recovered": ""}, False
        decision = self._decide(ledger)
        if self._check_mode and decision.action in DEPLOYS:
            self._check_room(decision.target, ledger)
        recovered = f"would first end the {journal.action} of release {journal.release}, which died" if journal else ""
        result = self._result(decision, ledger, recovered)
        return result, bool(result["changed"])

    def run(self, tell: Tell) -> Result:
        """Do what the options ask; a failure is a result as well.

        :param tell: called with what happens now.
        """
        self._tell = tell
        try:
            return self._locked()
        except Refused as refused:
            return {"failed": True, "msg": str(refused), "log": refused.log, "steps": self.delivery.steps}
        except ERRORS as error:
            return {"failed": True, "msg": f"{self._store.name}: {error}", "steps": self.delivery.steps}

    def publish(self) -> str:
        """Have node_exporter show what the ledger says; returns what went wrong, or nothing."""
        return publish_figures(self._store)

    def _locked(self) -> Result:
        options = self._options
        self._lock.acquire(options["by"] or "somebody", longest_run(options), options["break_lock"])
        warning = ""
        try:
            recovered = self.delivery.recover() or ""
            ledger = self._store.ledger()
            decision = self._decide(ledger)
            result = self._result(decision, ledger, recovered)
            self._do(decision, ledger)
            self._tell(f"release {decision.target.number} serves")
            result.update(steps=self.delivery.steps, downtime=self._downtime(decision))
        finally:
            warning = self.publish()
            self._lock.release()
        return {**result, "warnings": [warning] if warning else []}

    def _decide(self, ledger: Ledger) -> Decision:
        if self._options["state"] == "rolled_back":
            return self._rollback(ledger)
        wanted = wanted_release(self._options, self._store, self._image_key(), keep_key=self._lock.held)
        active = self._store.release(ledger.active.release) if ledger.active else None
        problem, route_is_right = None, True
        if ledger.active and active:
            # How a release is gated is what code says now, not what it said when the release was made.
            active = replace(active, delivery=wanted.delivery)
            problem = self.delivery.problem(ledger.active, active)
            route_is_right = self._router.is_pointed(self._store.name, ledger.active.slot)
        held = [self._store.release(number) for number in ledger.held]
        return decide(active, wanted, held, problem, route_is_right, self._options["force"])

    def _rollback(self, ledger: Ledger) -> Decision:
        if ledger.active is None:
            raise ReleaseError("nothing serves this app on this host, so there is nothing to go back from")
        serving, number, delivery = ledger.active.release, self._options["release"], self._options["delivery"]
        if delivery and not ledger.brought_by(delivery):
            return Decision("none", f"release {serving} did not come with {delivery}", self._store.release(serving))
        if number is None:
            kept = self._store.numbers()
            earlier = [item for item in ledger.served() if item in kept and item not in (serving, *ledger.held)]
            if not earlier and delivery:
                return Decision("none", "it is the first release on this host", self._store.release(serving))
            if not earlier:
                left = ", ".join(str(item) for item in ledger.held if item in kept and item != serving)
                raise ReleaseError(
                    f"release {serving} serves, and no earlier release is kept on this host"
                    + (f"; name one that was gone back from to have it: {left}" if left else "")
                )
            number = earlier[0]
        target = self._store.release(number)
        if number == serving:
            return Decision("none", f"release {number} serves", target)
        if number not in ledger.served():
            raise ReleaseError(f"release: {number} has never passed its gate, so it is nothing to go back to")
        return Decision("undo" if delivery else "rollback", f"from release {serving}", target)

    def _do(self, decision: Decision, ledger: Ledger) -> None:
        if decision.action == "redirect" and ledger.active:
            self._router.point(self._store.name, ledger.active.slot)
        if decision.action not in DEPLOYS:
            return
        target = decision.target if decision.action in ("deploy", "restore") else self._moved(decision.target)
        self._prepare(target, ledger)
        if decision.action == "deploy":
            self._store.add(target, secret_values(self._options))
        elif target != decision.target:
            self._store.add(target, {})
            # What still runs in the slot does so where the ingress had it before.
            self._slots.remove(self._free_slot(ledger))
        by, commit, delivery = (self._options[name] for name in ("by", "commit", "delivery"))
        self.delivery.deliver(target, decision.action, by, commit, delivery)

    def _image_key(self) -> str:
        """The key as given, or as the engine knows it. A preview may run before there is an image, or an engine."""
        key, image = self._options["image_key"], self._options["image"]
        if key:
            return str(key)
        if not image:
            raise ReleaseError("image: name the image to serve, or give its image_key")
        try:
            return need_image(self._engine, image).key
        except (ContainerError, EngineUnreachable):
            if self._check_mode:
                return ""
            raise

    def _prepare(self, release: Release, ledger: Ledger) -> None:
        """Refuse what cannot work, before anything on this host changes."""
        need_image(self._engine, release.image, release.image_key)
        if release.model:
            _check_model(release.model)
        slot = self._free_slot(ledger)
        address, wanted = self._router.address(self._store.name, slot), f"127.0.0.1:{release.port(slot)}"
        if address != wanted:
            raise ReleaseError(
                f"slots: the ingress expects the {slot} slot at {address}, and this release uses {wanted}: "
                "run the role ingress with the same app list first"
            )
        self._check_room(release, ledger)

    def _check_room(self, release: Release, ledger: Ledger) -> None:
        """Refuse what this host has no room for. A preview may come before there is an engine."""
        try:
            running = self._slots.state(self._free_slot(ledger)).running
            engine_root = self._engine.get("/info")["DockerRootDir"]
        except EngineUnreachable:
            running, engine_root = False, ENGINE_ROOT
        # What still runs in the free slot gives its place to the new release.
        if release.delivery["strategy"] == "blue_green" and not running:
            check_memory(release.config["memory"])
        check_disk([engine_root, STATE_ROOT, self._store.folder])

    def _free_slot(self, ledger: Ledger) -> str:
        return other(ledger.active.slot if ledger.active else self._router.file_slot(self._store.name))

    def _moved(self, release: Release) -> Release:
        """An earlier release, at the ports where the ingress has the app's slots now."""
        addresses = [self._router.address(self._store.name, slot) for slot in SLOTS]
        slots = [int(address.rpartition(":")[2]) for address in addresses]
        return replace(release, config={**release.config, "slots": slots})

    def _downtime(self, decision: Decision) -> float:
        history = self._store.ledger().history
        return history[-1].downtime if history and decision.action in DEPLOYS else 0.0

    def _result(self, decision: Decision, ledger: Ledger, recovered: str) -> Result:
        target = decision.target
        file_slot = None if ledger.active else self._router.file_slot(self._store.name)
        planned = moves(decision, ledger.active, file_slot)
        return {
            "changed": decision.changes or bool(recovered),
            "app": self._store.name,
            "action": decision.action,
            "reason": decision.reason,
            "release": target.number,
            "slot": planned.slot,
            "image_key": target.image_key,
            "model_version": target.model.get("version", ""),
            "plan": planned.lines,
            "recovered": recovered,
            "steps": {},
            "downtime": 0.0,
            "diff": self._diff(decision, ledger, planned.before, planned.after),
        }

    def _diff(
        self, decision: Decision, ledger: Ledger, before: dict[str, str], after: dict[str, str]
    ) -> dict[str, t.Any]:
        if not decision.changes:
            return {"before": "", "after": ""}
        active = self._store.release(ledger.active.release) if ledger.active else None
        app, target = self._store.name, decision.target
        return {
            "before_header": f"{app}: release {active.number}" if active else f"{app}: nothing serves",
            "after_header": f"{app}: release {target.number} ({decision.action}, {decision.reason})",
            "before": describe(active, before),
            "after": describe(target, after),
        }


def _check_model(model: dict[str, str]) -> None:
    """Refuse a model whose files are not there, or not what they were when they were fetched."""
    path = model["path"]
    if not os.path.isdir(path):
        raise ReleaseError(f"model: {path} does not exist: let mlflow_model fetch it first")
    if not model.get("digest"):
        return
    try:
        verify(path, model["digest"])
    except (ModelError, OSError) as error:
        again = "remove it, and let mlflow_model fetch it again"
        raise ReleaseError(f"model: {path} is damaged: {error}: {again}") from error
