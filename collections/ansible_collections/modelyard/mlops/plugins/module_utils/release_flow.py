# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The story of a deployment, step by step, and how one that died is told to its end.

Each step is written to the journal before it begins. Up to and including `warm_up` the old release has noticed
nothing, so a deployment that died there is taken back. From `switch` on the new release has passed its gate, so the
next run goes on where the dead one stopped: every step from there may be done twice. `return` is the way back.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .engine import EngineError
from .haproxy import INTERNAL_PORT, HaproxyError, Router, open_connections
from .ledger import Active, AppStore, Attempt, Journal, now
from .release import SLOTS, Release, ReleaseError, differences, other
from .release_gate import Ask, Clock, Failed, Gate, Question, Watch
from .release_slots import Slots

BEFORE_SWITCH = ("start", "gate", "warm_up")
AFTER_SWITCH = ("switch", "watch", "drain", "retire", "record")

# What a step can end with for reasons of the release or the host. Anything else is an error of this program: it leaves
# the journal as it is.
PROBLEMS = (Failed, ReleaseError, EngineError, HaproxyError)

DRAIN_INTERVAL = 0.1

# So many wrong answers in a row mean that a serving release is broken.
ANSWERS = 3


class Refused(Exception):
    """The new release does not serve, and the host is as it was before; the message tells all."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


@dataclass(frozen=True)
class Decision:
    """What has to happen to an app: `none`, `held`, `redirect`, `restore` or `deploy`; and why."""

    action: str
    reason: str
    differences: t.Sequence[str] = ()


def decide(
    active: Release | None,
    wanted: Release,
    held: t.Sequence[Release],
    problem: str | None,
    route_is_right: bool,
    force: bool = False,
) -> Decision:
    """Compare what is wanted with what serves.

    :param held: the releases that were rolled back and must not return by themselves.
    :param problem: what is wrong with the active release's container, or None.
    """
    parts = differences(active, wanted)
    taken_back = next((release.number for release in held if release.identity == wanted.identity), None)
    if active is None or force:
        return Decision("deploy", "forced" if force else "first release", parts)
    if parts and taken_back is None:
        return Decision("deploy", f"changed: {', '.join(parts)}", parts)
    if problem:
        return Decision("restore", problem)
    if not route_is_right:
        return Decision("redirect", "the ingress does not send the app's requests to the serving slot")
    if parts:
        return Decision(
            "held",
            f"release {active.number} keeps serving, as release {taken_back}, which is wanted, was rolled back. "
            "Change something, or set force, to deploy it",
        )
    return Decision("none", f"release {active.number} serves")


class Delivery:
    """Brings releases of one app into service on this host.

    :param check_lock: called before each step; raises when another run has taken over.
    """

    def __init__(
        self,
        store: AppStore,
        slots: Slots,
        router: Router,
        ask: Ask,
        clock: Clock,
        check_lock: t.Callable[[], None],
        connections: t.Callable[[int], int] = open_connections,
    ) -> None:
        self._store = store
        self._slots = slots
        self._router = router
        self._ask = ask
        self._clock = clock
        self._check_lock = check_lock
        self._connections = connections
        self._steps: list[tuple[str, float]] = []

    @property
    def steps(self) -> dict[str, float]:
        """Seconds that each step took."""
        ends = [begun for _step, begun in self._steps[1:]] + [self._clock.monotonic()]
        return {step: round(end - begun, 2) for (step, begun), end in zip(self._steps, ends)}

    def problem(self, active: Active, release: Release) -> str | None:
        """What is wrong with the container that should serve, or None."""
        state = self._slots.state(active.slot)
        if state.release != release.number or not state.running:
            return f"release {release.number} should serve from the {active.slot} slot, but {state}"
        gate = Gate.from_options(release.delivery["gate"])
        answer = None
        # A busy moment of the app must not cause a deployment: only wrong answers in a row do.
        for _attempt in range(ANSWERS):
            answer = self._ask(release.port(active.slot), gate.question, gate.timeout)
            if answer is None:
                break
        return answer

    def route_is_right(self, active: Active) -> bool:
        """Whether the ingress sends the app's requests to the active slot, now and after a restart."""
        route = self._router.route(self._store.name)
        return (route.file, route.running) == (active.slot, active.slot)

    def redirect(self, active: Active) -> None:
        """Make it so."""
        self._router.point(self._store.name, active.slot)

    def deliver(self, release: Release, action: str, by: str, commit: str, delivery: str = "") -> None:
        """Bring a release into service. It is in the store already.

        :param action: `deploy`, `restore`, `rollback`, or `undo`: a rollback that does not hold what it leaves.
        :param delivery: the run over several hosts that this is a part of.
        :raises Refused: it does not serve, and what served before still does.
        """
        active = self._store.ledger().active
        previous = active.slot if active else self._router.file_slot(self._store.name)
        journal = Journal(action, release.number, other(previous), previous, by, commit, now(), delivery=delivery)
        try:
            self._begin(journal, "start")
            self._slots.start(release, journal.slot, self._store.secrets_folder(release.number))
            self._begin(journal, "gate")
            self._gate(release, journal.slot)
            self._begin(journal, "warm_up")
            self._warm_up(release, journal.slot)
        except PROBLEMS as error:
            raise self._abandon(journal, "refused", str(error)) from error
        self._take_over(journal, release, "switch")

    def recover(self) -> str | None:
        """Bring a deployment that died to an end; say what was done, or None."""
        journal = self._store.journal()
        if journal is None:
            return None
        what = f"the {journal.action} of release {journal.release}, which died at the step {journal.step}"
        if journal.step in BEFORE_SWITCH:
            self._abandon(journal, "interrupted", f"died at the step {journal.step}")
            return f"took back {what}"
        release = self._store.release(journal.release)
        try:
            if journal.step == "return":
                raise self._go_back(journal, "died on the way back")
            if journal.step in ("switch", "watch"):
                self._gate_again(journal, release)
            self._take_over(journal, release, journal.step)
        except Refused:
            return f"took back {what}"
        return f"finished {what}"

    def remove(self, by: str, commit: str, grace: int, drain: float) -> None:
        """Take the app from this host: route, containers, releases and secrets. The history stays."""
        started = now()
        self._check_lock()
        if self._store.name in self._router.apps():
            self._router.point(self._store.name, None)
        ledger = self._store.ledger()
        for slot in SLOTS:
            if ledger.active and ledger.active.slot == slot:
                self._drain(slot, self._store.release(ledger.active.release).port(slot), drain)
            self._slots.stop(slot, grace)
            self._slots.remove(slot)
        if ledger.active:
            number = ledger.active.release
            ledger.add(Attempt("remove", number, started, now(), by, commit, "removed", "no longer in the app list"))
        ledger.active, ledger.held = None, []
        self._store.save(ledger)
        self._store.forget_releases()
        if self._store.journal():
            self._store.clear_journal()

    def _take_over(self, journal: Journal, release: Release, first: str) -> None:
        """All from `first` on, which is `switch` or a later step."""
        remaining = AFTER_SWITCH[AFTER_SWITCH.index(first) :]
        try:
            if "switch" in remaining:
                self._begin(journal, "switch")
                self._slots.keep(journal.slot, running=True)
                self._router.point(self._store.name, journal.slot)
            if "watch" in remaining:
                self._begin(journal, "watch")
                self._watch(release, journal.slot)
        except PROBLEMS as error:
            raise self._go_back(journal, str(error)) from error
        old = self._old_release(release)
        old_slot = other(journal.slot)
        if "drain" in remaining:
            self._begin(journal, "drain")
            self._drain(old_slot, old.port(old_slot), release.delivery["drain"])
        if "retire" in remaining:
            self._begin(journal, "retire")
            self._slots.stop(old_slot, old.config["grace"])
        self._begin(journal, "record")
        self._record(journal, release.delivery["keep"])

    def _go_back(self, journal: Journal, reason: str) -> Refused:
        """The way back after the switch: the old slot still runs, so one change of the map is all it takes."""
        self._begin(journal, "return")
        self._router.point(self._store.name, journal.previous_slot)
        release = self._store.release(journal.release)
        self._drain(journal.slot, release.port(journal.slot), release.delivery["drain"])
        return self._abandon(journal, "returned", reason)

    def _abandon(self, journal: Journal, outcome: str, reason: str) -> Refused:
        """Remove a release that does not serve, but keep what it has to say."""
        state, log = self._slots.state(journal.slot), self._slots.logs(journal.slot)
        self._slots.remove(journal.slot)
        ledger = self._store.ledger()
        ledger.add(self._attempt(journal, outcome, reason))
        self._store.save(ledger)
        self._store.clear_journal()
        if journal.release not in ledger.served():
            self._store.forget(journal.release)
        serving = f"Release {ledger.active.release} keeps serving" if ledger.active else "Nothing serves this app"
        how = "was taken back after the switch" if outcome == "returned" else f"was refused at the step {journal.step}"
        message = f"{self._store.name}: release {journal.release} {how}: {reason}. {serving}."
        if state.release and not state.running and str(state) not in reason:
            message += f" In the end {state}."
        return Refused(message + (f" Its last words:\n{log}" if log else " It wrote no log."), log)

    def _record(self, journal: Journal, keep: int) -> None:
        ledger = self._store.ledger()
        if journal.action == "rollback":
            left = [ledger.active.release] if ledger.active else []
            ledger.held = sorted({*ledger.held, *left} - {journal.release})
        elif journal.action == "deploy":
            ledger.held = []
        ledger.active = Active(journal.release, journal.slot, now())
        ledger.add(self._attempt(journal, "served", ""))
        self._store.save(ledger)
        self._store.prune(keep)
        self._store.clear_journal()

    def _attempt(self, journal: Journal, outcome: str, reason: str) -> Attempt:
        return Attempt(
            action=journal.action,
            release=journal.release,
            started=journal.started,
            finished=now(),
            by=journal.by,
            commit=journal.commit,
            outcome=outcome,
            reason=reason,
            delivery=journal.delivery,
        )

    def _begin(self, journal: Journal, step: str) -> None:
        """Say that a step begins; it is on disk when this returns."""
        self._check_lock()
        journal.step = step
        self._store.write_journal(journal)
        self._steps.append((step, self._clock.monotonic()))

    def _gate(self, release: Release, slot: str) -> None:
        gate = Gate.from_options(release.delivery["gate"])
        port = release.port(slot)
        gate.pass_through(
            lambda question, timeout: self._ask(port, question, timeout), lambda: self._slots.state(slot), self._clock
        )

    def _gate_again(self, journal: Journal, release: Release) -> None:
        try:
            self._gate(release, journal.slot)
        except PROBLEMS as error:
            raise self._go_back(journal, str(error)) from error

    def _warm_up(self, release: Release, slot: str) -> None:
        options = release.delivery["warm_up"]
        question = Question(options["path"], options["status"], "", options["method"], options["body"])
        for _number in range(options["requests"]):
            problem = self._ask(release.port(slot), question, release.delivery["gate"]["timeout"])
            if problem:
                raise Failed(f"warm-up: {problem}")

    def _watch(self, release: Release, slot: str) -> None:
        gate = Gate.from_options(release.delivery["gate"])
        name = self._store.name
        question = Question(f"/apps/{name}{gate.question.path}", gate.question.status, gate.question.contains)
        Watch(**release.delivery["watch"]).pass_through(
            lambda: self._ask(INTERNAL_PORT, question, gate.timeout),
            lambda: self._slots.state(slot),
            lambda: self._router.load(name, slot),
            self._clock,
        )

    def _drain(self, slot: str, port: int, seconds: float) -> None:
        """Wait until nobody talks to a slot any more. What is left then gets the container's grace period."""
        deadline = self._clock.monotonic() + seconds
        quiet = 0
        # Twice, because a request may be on its way from the ingress' decision to its connection.
        while quiet < 2 and self._clock.monotonic() < deadline:
            quiet = 0 if self._sessions(slot) or self._connections(port) else quiet + 1
            self._clock.sleep(DRAIN_INTERVAL)

    def _sessions(self, slot: str) -> int:
        try:
            return self._router.load(self._store.name, slot).sessions
        except HaproxyError:
            # The ingress has already forgotten the app, or is down: then no request comes this way.
            return 0

    def _old_release(self, release: Release) -> Release:
        active = self._store.ledger().active
        return self._store.release(active.release) if active else release
