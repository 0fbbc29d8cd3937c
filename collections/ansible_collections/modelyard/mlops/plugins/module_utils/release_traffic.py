# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What is asked of an app's slots, directly and through the ingress, and when their requests have ended."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from .haproxy import INTERNAL_PORT, HaproxyError, Load, Router
from .release import Release
from .release_gate import Ask, Clock, Failed, Gate, Question
from .release_slots import Slots, State
from .release_watch import Baseline, Probe, Watch

DRAIN_INTERVAL = 0.1

# The exit code of a process that was killed, and for how many seconds the engine may not have said why.
KILLED = 137
ENDING = 1.0

# So many wrong answers in a row mean that a serving release is broken.
ANSWERS = 3


class Traffic:
    """The requests to one app's slots, ours and everybody's.

    :param tell: called with what a release that is not ready yet answers.
    :param connections: counts the open connections to a loopback port.
    """

    def __init__(
        self,
        app: str,
        slots: Slots,
        router: Router,
        ask: Ask,
        clock: Clock,
        tell: t.Callable[[str], None],
        connections: t.Callable[[int], int],
    ) -> None:
        self._app = app
        self._slots = slots
        self._router = router
        self._ask = ask
        self._clock = clock
        self._tell = tell
        self._connections = connections

    def problem(self, release: Release, slot: str) -> str | None:
        """What is wrong with the answers of a release that should serve, or None."""
        gate = Gate.from_options(release.delivery["gate"])
        answer = None
        # A busy moment of the app must not cause a deployment: only wrong answers in a row do.
        for _attempt in range(ANSWERS):
            answer = self._ask(release.port(slot), gate.question, gate.timeout)
            if answer is None:
                break
        return answer

    def gate(self, release: Release, slot: str) -> None:
        """Return when a release is ready.

        :raises Failed: it is not, in time.
        """
        port = release.port(slot)
        Gate.from_options(release.delivery["gate"]).pass_through(
            lambda question, timeout: self._ask(port, question, timeout),
            lambda: self._slots.state(slot),
            self._clock,
            self._tell,
        )

    def warm_up(self, release: Release, slot: str) -> None:
        """Send a release its warm-up requests.

        :raises Failed: one was not answered as it should be.
        """
        for _number in range(release.delivery["warm_up"]["requests"]):
            problem = self._ask(release.port(slot), _warm_question(release), release.delivery["gate"]["timeout"])
            if problem:
                raise Failed(f"warm-up: {problem}")

    def load(self, slot: str) -> Load:
        """The ingress' counters of a slot."""
        return self._router.load(self._app, slot)

    def measure(self, release: Release, slot: str, before: Load) -> Baseline:
        """How the slot that serves does, in the way in which `release` will be watched.

        :param before: the slot's counters as they were when the deployment began.
        """
        watch = Watch(**release.delivery["watch"])
        return watch.measure(before, self.load(slot), lambda: self._probe(release), self._clock)

    def watch(self, release: Release, slot: str, baseline: Baseline) -> None:
        """Return when a release has served well for long enough.

        :raises Failed: it has not.
        """
        Watch(**release.delivery["watch"]).pass_through(
            baseline,
            lambda: self._probe(release),
            lambda: self._slots.state(slot),
            lambda: self.load(slot),
            self._clock,
        )

    def ending(self, slot: str) -> State:
        """How a slot's container ended. That it ran out of memory, a busy engine says a moment later."""
        deadline = self._clock.monotonic() + ENDING
        state = self._slots.state(slot)
        while state.exit_code == KILLED and not state.out_of_memory and self._clock.monotonic() < deadline:
            self._clock.sleep(DRAIN_INTERVAL)
            state = self._slots.state(slot)
        return state

    def drain(self, slot: str, port: int, seconds: float) -> str:
        """Wait until nobody talks to a slot any more; returns what is left, which then gets the grace period."""
        deadline = self._clock.monotonic() + seconds
        quiet = busy = 0
        # Twice, because a request may be on its way from the ingress' decision to its connection.
        while quiet < 2 and self._clock.monotonic() < deadline:
            busy = max(self._sessions(slot), self._connections(port))
            quiet = 0 if busy else quiet + 1
            self._clock.sleep(DRAIN_INTERVAL)
        return f"{busy} connections to the old release were still open after {seconds:g} s" if busy else ""

    def _probe(self, release: Release) -> Probe:
        """Ask through the ingress what the gate asks, and what the release is warmed up with; the last is timed."""
        gate = Gate.from_options(release.delivery["gate"])
        questions = [gate.question]
        if release.delivery["warm_up"]["requests"]:
            questions.append(_warm_question(release))
        for question in questions:
            question = replace(question, path=f"/apps/{self._app}{question.path}")
            begun = self._clock.monotonic()
            problem = self._ask(INTERNAL_PORT, question, gate.timeout)
            if problem:
                break
        return Probe(problem, (self._clock.monotonic() - begun) * 1000)

    def _sessions(self, slot: str) -> int:
        try:
            return self.load(slot).sessions
        except HaproxyError:
            # The ingress has already forgotten the app, or is down: then no request comes this way.
            return 0


def _warm_question(release: Release) -> Question:
    options = release.delivery["warm_up"]
    return Question(options["path"], options["status"], options["contains"], options["method"], options["body"])
