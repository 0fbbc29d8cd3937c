# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a release that has just begun to serve does so as well as the one before it.

Errors are counted by HAProxy, over all requests to the slot. Times are those of probes through the ingress, as HAProxy
keeps no sum of them that begins where a release begins; a probe asks the gate's question, and after it the warm-up
request where there is one, and it waits in the same queue as everybody else's requests.
"""

from __future__ import annotations

import statistics
import typing as t
from dataclasses import dataclass

from .haproxy import Load
from .release_gate import Clock, Failed
from .release_slots import State

INTERVAL = 0.2

# The watch ends badly after this many wrong answers in a row: one may be the machine's bad moment.
WRONG_IN_A_ROW = 3

# Fewer probes say nothing, however long they take; that many say enough before the time is over.
ENOUGH = 3
PLENTY = 10

# Seconds for measuring the old release.
MEASURING = 2.0


@dataclass(frozen=True)
class Probe:
    """A request through the ingress: what was wrong with its answer, and how long that took in milliseconds."""

    problem: str | None
    milliseconds: float


@dataclass(frozen=True)
class Baseline:
    """How the old release served right before the switch.

    :ivar error_percent: share of its requests that failed; 0 when there were too few to say.
    :ivar milliseconds: median of the probes' times; None when it did not answer them.
    """

    error_percent: float = 0.0
    milliseconds: float | None = None


@dataclass(frozen=True)
class Watch:
    """How long a release is watched, and how much worse than the old one it may be.

    :ivar min_requests: fewer requests than this say nothing about a share.
    """

    seconds: float
    min_requests: int
    error_margin_percent: float
    latency_ratio: float
    latency_margin_ms: float

    def measure(self, before: Load, after: Load, probe: t.Callable[[], Probe], clock: Clock) -> Baseline:
        """How the release that serves does, between two readings of its counters and by some probes."""
        deadline = clock.monotonic() + MEASURING
        probes: list[Probe] = []
        while len(probes) < ENOUGH or (len(probes) < PLENTY and clock.monotonic() < deadline):
            probes.append(probe())
        return Baseline(self._share(before, after) or 0.0, _median(probes))

    def pass_through(
        self,
        baseline: Baseline,
        probe: t.Callable[[], Probe],
        state: t.Callable[[], State],
        load: t.Callable[[], Load],
        clock: Clock,
    ) -> None:
        """Return when the time is over.

        :raises Failed: the release does not serve as well through the ingress as the old one did.
        """
        before = load()
        probes: list[Probe] = []
        wrong = 0
        deadline = clock.monotonic() + self.seconds
        while clock.monotonic() < deadline or len(probes) < ENOUGH:
            probes.append(probe())
            wrong = wrong + 1 if probes[-1].problem else 0
            if wrong >= WRONG_IN_A_ROW:
                raise Failed(f"behind the ingress, {probes[-1].problem}")
            container = state()
            # The engine already brings back what serves, and faster than anybody looks.
            if not container.running or container.restarts:
                raise Failed(str(container))
            self._compare_errors(baseline, before, load())
            if len(probes) >= PLENTY:
                self._compare_times(baseline, probes)
            clock.sleep(INTERVAL)
        self._compare_times(baseline, probes)

    def _compare_errors(self, baseline: Baseline, before: Load, after: Load) -> None:
        share = self._share(before, after)
        if share is not None and share > baseline.error_percent + self.error_margin_percent:
            raise Failed(
                f"{after.errors - before.errors} of {after.requests - before.requests} requests failed after the "
                f"switch: {share:.1f} %, and {baseline.error_percent:.1f} % did before it "
                f"(error_margin_percent is {self.error_margin_percent:g})"
            )

    def _compare_times(self, baseline: Baseline, probes: t.Sequence[Probe]) -> None:
        now = _median(probes)
        if now is None or baseline.milliseconds is None:
            return
        if now > baseline.milliseconds * self.latency_ratio + self.latency_margin_ms:
            raise Failed(
                f"its answers take {now:.0f} ms, and the old release's took {baseline.milliseconds:.0f} ms "
                f"(latency_ratio is {self.latency_ratio:g}, latency_margin_ms is {self.latency_margin_ms:g})"
            )

    def _share(self, before: Load, after: Load) -> float | None:
        """Failed requests in percent; None when there were too few requests to say."""
        requests = after.requests - before.requests
        if requests < max(self.min_requests, 1):
            return None
        return (after.errors - before.errors) * 100 / requests


def _median(probes: t.Sequence[Probe]) -> float | None:
    """Of the right answers' times; None when there are too few."""
    times = [probe.milliseconds for probe in probes if not probe.problem]
    return round(statistics.median(times), 1) if len(times) >= ENOUGH else None
