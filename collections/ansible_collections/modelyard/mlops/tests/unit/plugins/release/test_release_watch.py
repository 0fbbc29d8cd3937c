# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""release_watch: a release is compared with the one before it, and chance decides nothing."""

from __future__ import annotations

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.haproxy import Load
from ansible_collections.modelyard.mlops.plugins.module_utils.release_gate import Failed
from ansible_collections.modelyard.mlops.plugins.module_utils.release_slots import State
from ansible_collections.modelyard.mlops.plugins.module_utils.release_watch import Baseline, Probe, Watch

from .fakes import DELIVERY, FakeClock

WATCH = Watch(**DELIVERY["watch"])  # type: ignore[arg-type]


def watch(
    loads: list[Load],
    probes: list[Probe] | None = None,
    baseline: Baseline = Baseline(),  # noqa: B008
    state: State = State(1, running=True),  # noqa: B008
) -> None:
    readings, answers = iter([Load(100, 10, 0), *loads]), iter(probes or [])
    good = Probe(None, 5.0)
    WATCH.pass_through(
        baseline, lambda: next(answers, good), lambda: state, lambda: next(readings, loads[-1]), FakeClock()
    )


def test_errors_before_the_switch_do_not_count() -> None:
    watch([Load(200, 10, 0)])


def test_errors_of_its_own_end_it() -> None:
    with pytest.raises(Failed, match=r"10 of 100 requests failed after the switch: 10\.0 %, and 0\.0 % did before it"):
        watch([Load(200, 20, 0)])


def test_as_many_errors_as_the_old_one_had_are_no_worse() -> None:
    watch([Load(200, 20, 0)], baseline=Baseline(error_percent=8.0))


def test_few_requests_say_nothing() -> None:
    watch([Load(119, 29, 0)])


def test_wrong_answers_in_a_row_through_the_ingress_end_it() -> None:
    wrong, good = Probe("it answered 500", 1.0), Probe(None, 1.0)
    with pytest.raises(Failed, match="behind the ingress, it answered 500"):
        watch([Load(100, 10, 0)], [wrong] * 3)
    watch([Load(100, 10, 0)], [wrong, wrong, good] * 5)


def test_stopped_container_ends_it() -> None:
    with pytest.raises(Failed, match="the container has stopped, exit code 1"):
        watch([Load(100, 10, 0)], state=State(1, running=False, exit_code=1))


def test_container_that_stopped_and_was_brought_back_meanwhile_ends_it() -> None:
    with pytest.raises(Failed, match="stopped by itself, 2 times until now, and was started again"):
        watch([Load(100, 10, 0)], state=State(1, running=True, restarts=2))


@pytest.mark.parametrize(
    ("milliseconds", "baseline", "fails"),
    [
        (119.0, 10.0, False),  # ratio 2 and margin 100 ms allow 120
        (121.0, 10.0, True),
        (2090.0, 1000.0, False),
        (2110.0, 1000.0, True),
        (9999.0, None, False),  # the old one gave no answer to compare with
    ],
)
def test_slower_by_ratio_and_margin_ends_it(milliseconds: float, baseline: float | None, fails: bool) -> None:
    probes = [Probe(None, milliseconds)] * 99
    if fails:
        with pytest.raises(Failed, match=rf"its answers take {milliseconds:.0f} ms, and the old release's took"):
            watch([Load(100, 10, 0)], probes, Baseline(0.0, baseline))
    else:
        watch([Load(100, 10, 0)], probes, Baseline(0.0, baseline))


def test_one_slow_answer_is_chance() -> None:
    watch([Load(100, 10, 0)], [Probe(None, 5000.0), Probe(None, 5000.0)], Baseline(0.0, 10.0))


def test_slow_answers_make_the_watch_longer_until_they_say_something() -> None:
    clock = FakeClock()

    def probe() -> Probe:
        clock.sleep(4)
        return Probe(None, 4000.0)

    with pytest.raises(Failed, match="its answers take 4000 ms"):
        WATCH.pass_through(Baseline(0.0, 10.0), probe, lambda: State(1, True), lambda: Load(0, 0, 0), clock)


def test_old_release_is_measured_by_its_share_and_its_median() -> None:
    answers = iter([Probe(None, 1000.0), Probe("wrong", 1.0)])
    measured = WATCH.measure(Load(0, 0, 0), Load(50, 1, 0), lambda: next(answers, Probe(None, 20.0)), FakeClock())
    assert measured == Baseline(2.0, 20.0)
    assert WATCH.measure(Load(0, 0, 0), Load(9, 9, 0), lambda: Probe("wrong", 1.0), FakeClock()) == Baseline(0.0, None)
