# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The story of a deployment, step by step, and how one that died is told to its end.

Each step is written to the journal before it begins. Up to and including `measure` the old release has noticed
nothing (or, where there is no room for two, has made room and comes back), so a deployment that died there is taken
back. From `switch` on the new release has passed its gate, so the next run goes on where the dead one stopped: every
step from there may be done twice. `return` is the way back.
"""

from __future__ import annotations

import typing as t
from dataclasses import asdict

from .engine import EngineError
from .haproxy import HaproxyError, Router, open_connections
from .ledger import Active, AppStore, Attempt, Journal, now, seconds_since
from .release import SLOTS, Release, ReleaseError, other
from .release_gate import Ask, Clock, Failed
from .release_slots import Slots
from .release_traffic import Traffic
from .release_watch import Baseline

BEFORE_SWITCH = ("vacate", "start", "gate", "warm_up", "measure")
AFTER_SWITCH = ("switch", "watch", "drain", "retire", "record")

# What a step can end with for reasons of the release or the host. Anything else is an error of this program: it leaves
# the journal as it is.
PROBLEMS = (Failed, ReleaseError, EngineError, HaproxyError)


# Seconds to finish in, for a container of which nothing is recorded.
GRACE = 30


class Refused(Exception):
    """The new release does not serve, and the host is as it was before; the message tells all."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


class Delivery:
    """Brings releases of one app into service on this host.

    :param check_lock: called before each step; raises when another run has taken over.
    :param tell: called with what happens now, in a few words.
    """

    def __init__(
        self,
        store: AppStore,
        slots: Slots,
        router: Router,
        ask: Ask,
        clock: Clock,
        check_lock: t.Callable[[], None],
        tell: t.Callable[[str], None] = lambda _text: None,
        connections: t.Callable[[int], int] = open_connections,
    ) -> None:
        self._store = store
        self._slots = slots
        self._router = router
        self._traffic = Traffic(store.name, slots, router, ask, clock, tell, connections)
        self._clock = clock
        self._check_lock = check_lock
        self._tell = tell
        self._steps: list[tuple[str, float]] = []

    @property
    def steps(self) -> dict[str, float]:
        """Seconds that each step took."""
        ends = [begun for _step, begun in self._steps[1:]] + [self._clock.monotonic()]
        return {step: round(end - begun, 3) for (step, begun), end in zip(self._steps, ends)}

    def problem(self, active: Active, release: Release) -> str | None:
        """What is wrong with the container that should serve, or None."""
        state = self._slots.state(active.slot)
        if state.release != release.number or not state.running:
            return f"release {release.number} should serve from the {active.slot} slot, but {state}"
        return self._traffic.problem(release, active.slot)

    def deliver(self, release: Release, action: str, by: str, commit: str, delivery: str = "") -> None:
        """Bring a release into service. It is in the store already.

        :param action: `deploy`, `restore`, `rollback`, or `undo`: a rollback that does not hold what it leaves.
        :param delivery: the run over several hosts that this is a part of.
        :raises Refused: it does not serve, and what served before still does.
        """
        active = self._store.ledger().active
        previous = active.slot if active else self._router.file_slot(self._store.name)
        journal = Journal(action, release.number, other(previous), previous, by, commit, now(), delivery=delivery)
        proved = action != "deploy"  # what comes back has served before: the less it is asked, the sooner it serves
        try:
            if active and release.delivery["strategy"] == "recreate":
                journal.vacated = now()
                self._begin(journal, "vacate", f"stop release {active.release}: nothing serves until the switch")
                self._vacate(active, release.delivery["drain"])
            self._begin(journal, "start", f"start release {release.number} in the {journal.slot} slot")
            load = self._traffic.load(active.slot) if active else None
            state = self._slots.state(journal.slot)
            if not state.running or state.release != release.number:
                self._slots.start(release, journal.slot)
            self._begin(journal, "gate", f"wait until {release.delivery['gate']['path']} answers as it should")
            self._traffic.gate(release, journal.slot)
            if release.delivery["warm_up"]["requests"]:
                self._begin(journal, "warm_up", f"warm up with {release.delivery['warm_up']['requests']} requests")
                self._traffic.warm_up(release, journal.slot)
            if active and load and not proved and not journal.vacated:
                self._begin(journal, "measure", "measure the release that serves")
                journal.baseline = asdict(self._traffic.measure(release, active.slot, load))
        except PROBLEMS as error:
            raise self._abandon(journal, "refused", str(error)) from error
        self._take_over(journal, release, "switch")

    def recover(self) -> str | None:
        """Bring a deployment that died to an end; say what was done, or None."""
        journal = self._store.journal()
        if journal is None:
            return None
        what = f"the {journal.action} of release {journal.release}, which died at the step {journal.step}"
        self._tell(f"end {what}")
        if journal.step in BEFORE_SWITCH:
            self._abandon(journal, "interrupted", f"died at the step {journal.step}")
            return f"took back {what}"
        release = self._store.release(journal.release)
        try:
            if journal.step == "return":
                raise Failed("died on the way back")
            if journal.step in ("switch", "watch"):
                self._traffic.gate(release, journal.slot)
        except PROBLEMS as error:
            self._go_back(journal, str(error))
            return f"took back {what}"
        try:
            self._take_over(journal, release, journal.step)
        except Refused:
            return f"took back {what}"
        return f"finished {what}"

    def remove(self, by: str, commit: str) -> None:
        """Take the app from this host: route, containers, releases and secrets. The history stays."""
        started = now()
        self._check_lock()
        if self._store.name in self._router.apps():
            self._router.point(self._store.name, None)
        ledger = self._store.ledger()
        active = self._store.release(ledger.active.release) if ledger.active else None
        for slot in SLOTS:
            if active and ledger.active and ledger.active.slot == slot:
                self._traffic.drain(slot, active.port(slot), active.delivery["drain"])
            self._slots.stop(slot, active.config["grace"] if active else GRACE)
            self._slots.remove(slot)
        if active:
            why = "no longer in the app list"
            ledger.add(Attempt("remove", active.number, started, now(), by, commit, "removed", why))
        ledger.active, ledger.held = None, []
        self._store.save(ledger)
        self._store.forget_releases()
        self._slots.forget_secrets(serving=0)
        if self._store.journal():
            self._store.clear_journal()

    def _take_over(self, journal: Journal, release: Release, first: str) -> None:
        """All from `first` on, which is `switch` or a later step."""
        remaining = AFTER_SWITCH[AFTER_SWITCH.index(first) :]
        try:
            if "switch" in remaining:
                self._begin(journal, "switch", f"send the requests to release {release.number}")
                self._slots.keep(journal.slot, running=True)
                self._router.point(self._store.name, journal.slot)
                if journal.vacated:
                    journal.downtime = seconds_since(journal.vacated)
            if "watch" in remaining and journal.action == "deploy" and release.delivery["watch"]["seconds"]:
                self._begin(journal, "watch", f"watch it for {release.delivery['watch']['seconds']:g} s")
                self._traffic.watch(release, journal.slot, Baseline(**journal.baseline))  # type: ignore[arg-type]
        except PROBLEMS as error:
            raise self._go_back(journal, str(error)) from error
        self._retire(journal, release, remaining)
        self._begin(journal, "record", "record it")
        self._record(journal, release.delivery["keep"])

    def _retire(self, journal: Journal, release: Release, remaining: t.Sequence[str]) -> None:
        """Let the old release finish, and stop it."""
        if journal.previous_slot is None:
            return
        active = self._store.ledger().active
        # With its record lost, the old release is taken for one like the new.
        old = self._store.release(active.release) if active else release
        slot = other(journal.slot)
        if "drain" in remaining:
            self._begin(journal, "drain", f"let the requests to the {slot} slot end")
            journal.note = self._traffic.drain(slot, old.port(slot), release.delivery["drain"])
        if "retire" not in remaining:
            return
        if release.delivery["keep_previous_running"] and journal.action == "deploy":
            self._begin(journal, "retire", f"keep the {slot} slot running, for a rollback")
            self._slots.keep(slot, running=False)
        else:
            self._begin(journal, "retire", f"stop the {slot} slot")
            self._slots.stop(slot, old.config["grace"])

    def _go_back(self, journal: Journal, reason: str) -> Refused:
        """The way back after the switch: the old slot still runs, so one change of the map is all it takes."""
        self._begin(journal, "return", "send the requests back")
        begun = self._clock.monotonic()
        trouble = self._serve_again(journal)
        took = (self._clock.monotonic() - begun) * 1000
        self._tell(f"that took {took:.0f} ms: {reason}")
        self._mark("undo")
        release = self._store.release(journal.release)
        self._traffic.drain(journal.slot, release.port(journal.slot), release.delivery["drain"])
        return self._abandon(journal, "returned", f"{reason} (the way back took {took:.0f} ms)", trouble)

    def _serve_again(self, journal: Journal) -> str:
        """Point back to the old release, which first has to run again if it had made room; returns what went wrong."""
        active = self._store.ledger().active
        since = now() if journal.downtime else journal.vacated
        try:
            if journal.vacated and active:
                old = self._store.release(active.release)
                self._slots.stop(journal.slot, 0)
                self._slots.start_again(old, active.slot)
                self._slots.keep(active.slot, running=True)
                self._traffic.gate(old, active.slot)
            self._router.point(self._store.name, journal.previous_slot)
        except PROBLEMS as error:
            return str(error)
        if since:
            journal.downtime = round(journal.downtime + seconds_since(since), 3)
        return ""

    def _abandon(self, journal: Journal, outcome: str, reason: str, trouble: str = "") -> Refused:
        """Remove a release that does not serve, but keep what it has to say.

        :param trouble: why the old release does not serve again, if it does not.
        """
        self._check_lock()
        state, log = self._traffic.ending(journal.slot), self._slots.logs(journal.slot)
        self._slots.remove(journal.slot)
        if journal.vacated and outcome != "returned":
            trouble = self._serve_again(journal)
        ledger = self._store.ledger()
        ledger.add(self._attempt(journal, outcome, reason))
        self._store.save(ledger)
        self._store.clear_journal()
        if journal.release not in ledger.served():
            self._store.forget(journal.release)
        self._slots.forget_secrets(ledger.active.release if ledger.active else 0)
        serving = f"Release {ledger.active.release} keeps serving" if ledger.active else "Nothing serves this app"
        if trouble:
            serving = f"Nothing serves this app, as the old release could not be brought back: {trouble}"
        elif journal.downtime:
            serving += f", after {journal.downtime:g} s without"
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
        ledger.add(self._attempt(journal, "served", journal.note))
        self._store.save(ledger)
        self._store.prune(keep)
        self._slots.forget_secrets(journal.release)
        self._store.clear_journal()

    def _attempt(self, journal: Journal, outcome: str, reason: str) -> Attempt:
        begun = (journal.action, journal.release, journal.started)
        attempt = Attempt(*begun, now(), journal.by, journal.commit, outcome, reason, journal.downtime)
        attempt.delivery = journal.delivery
        return attempt

    def _begin(self, journal: Journal, step: str, words: str) -> None:
        """Say that a step begins; it is on disk when this returns."""
        self._check_lock()
        journal.step = step
        self._store.write_journal(journal)
        self._mark(step)
        self._tell(words)

    def _mark(self, step: str) -> None:
        self._steps.append((step, self._clock.monotonic()))

    def _vacate(self, active: Active, drain: float) -> None:
        """Stop the old release, because there is no room for two."""
        old = self._store.release(active.release)
        self._router.point(self._store.name, None)
        self._traffic.drain(active.slot, old.port(active.slot), drain)
        self._slots.stop(active.slot, old.config["grace"])
