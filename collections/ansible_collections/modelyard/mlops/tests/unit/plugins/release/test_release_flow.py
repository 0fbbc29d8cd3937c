# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""release_flow: one release serves at any moment, whatever happens, and the ledger knows which."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.ledger import Ledger
from ansible_collections.modelyard.mlops.plugins.module_utils.release import Release
from ansible_collections.modelyard.mlops.plugins.module_utils.release_flow import (
    AFTER_SWITCH,
    BEFORE_SWITCH,
    Refused,
)
from ansible_collections.modelyard.mlops.plugins.module_utils.release_lock import LockError
from ansible_collections.modelyard.mlops.plugins.module_utils.release_slots import State

from .fakes import DELIVERY, Host, Killed, release

# Release 1 is the first, so the journal of its deployment begins in blue.
BLUE, GREEN = "blue", "green"


def delivered(number: int, **options: object) -> Release:
    """A release that is brought into service in another way."""
    return release(number, delivery={**DELIVERY, **options})


def outcomes(host: Host) -> list[tuple[int, str]]:
    return [(attempt.release, attempt.outcome) for attempt in host.store.ledger().history]


def assert_tidy(host: Host, number: int) -> None:
    """Exactly one release serves, runs and comes back after a reboot; the ledger says so; nothing is under way."""
    active = host.store.ledger().active
    assert active is not None
    assert (active.release, host.serving()) == (number, number)
    assert host.router.file == host.router.running == active.slot
    assert [slot for slot, state in host.slots.states.items() if state.running] == [active.slot]
    assert host.slots.kept == {active.slot}
    assert host.store.journal() is None
    host.reboot()
    assert host.serving() == number


def test_first_release_serves(serving: Host) -> None:
    assert_tidy(serving, 1)
    assert outcomes(serving) == [(1, "served")]


def test_next_release_takes_the_other_slot(serving: Host) -> None:
    serving.deliver(release(2))
    assert_tidy(serving, 2)
    assert serving.router.running == GREEN
    serving.deliver(release(3))
    assert_tidy(serving, 3)
    assert serving.router.running == BLUE


def test_steps_are_told_and_timed(serving: Host) -> None:
    serving.store.add(release(2), {})
    serving.told.clear()
    delivery = serving.delivery()
    delivery.deliver(release(2), "deploy", "me", "abc")
    assert list(delivery.steps) == [*BEFORE_SWITCH[1:], *AFTER_SWITCH]
    assert delivery.steps["watch"] == pytest.approx(1.5, abs=0.3)
    assert serving.told == [
        "start release 2 in the green slot",
        "wait until /ready answers as it should",
        "warm up with 1 requests",
        "measure the release that serves",
        "send the requests to release 2",
        "watch it for 1.5 s",
        "let the requests to the blue slot end",
        "stop the blue slot",
        "record it",
    ]


def test_release_that_stops_is_refused_with_its_last_words(serving: Host) -> None:
    serving.slots.broken.add(2)
    with pytest.raises(
        Refused, match=r"(?s)release 2 was refused at the step gate.*exit code 3.*log of release 2"
    ) as caught:
        serving.deliver(release(2))
    assert "Release 1 keeps serving" in str(caught.value)
    assert_tidy(serving, 1)
    assert outcomes(serving)[-1] == (2, "refused")
    assert serving.store.numbers() == [1], "what never served is no release to go back to"
    assert serving.store.next_number() == 3, "its number is not given again"


def test_release_that_fails_behind_the_ingress_is_taken_back(serving: Host) -> None:
    serving.fails_later.add(2)
    with pytest.raises(Refused, match=r"release 2 was taken back after the switch: behind the ingress.*took 0 ms"):
        serving.deliver(release(2))
    assert_tidy(serving, 1)
    assert outcomes(serving)[-1] == (2, "returned")


def test_first_release_that_fails_leaves_no_route(host: Host) -> None:
    host.fails_later.add(1)
    with pytest.raises(Refused, match="Nothing serves this app"):
        host.deliver(release(1))
    assert host.router.file is host.router.running is None
    assert host.slots.states == {}


def test_drain_waits_for_sessions_but_not_for_ever(serving: Host) -> None:
    serving.router.sessions = 1
    before = serving.clock.time
    serving.deliver(release(2))
    assert 5 <= serving.clock.time - before < 8
    assert_tidy(serving, 2)
    assert serving.store.ledger().history[-1].reason == "1 connections to the old release were still open after 5 s"


def test_rollback_holds_what_it_leaves(serving: Host) -> None:
    serving.deliver(release(2))
    serving.deliver(serving.store.release(1), "rollback")
    assert_tidy(serving, 1)
    assert serving.store.ledger().held == [2]
    serving.deliver(release(3))
    assert serving.store.ledger().held == []


def test_lost_ledger_does_not_overwrite_the_serving_slot(serving: Host) -> None:
    serving.store.save(Ledger())
    serving.deliver(release(7))
    assert_tidy(serving, 7)
    assert serving.router.running == GREEN


@pytest.mark.parametrize("reboot", [False, True], ids=["process", "host"])
@pytest.mark.parametrize(
    ("step", "strategy"),
    [(step, "blue_green") for step in (*BEFORE_SWITCH[1:], *AFTER_SWITCH)]
    # It has no release to measure, as that has made room.
    + [(step, "recreate") for step in (*BEFORE_SWITCH[:-1], *AFTER_SWITCH)],
)
def test_run_that_dies_is_ended_by_the_next(serving: Host, step: str, strategy: str, reboot: bool) -> None:
    kill_at(serving, step)
    with pytest.raises(Killed):
        serving.deliver(delivered(2, strategy=strategy))
    if reboot:
        serving.reboot()
    if strategy == "blue_green":
        assert serving.serving() in (1, 2), "one of them serves while nobody repairs"
    said = serving.delivery().recover()
    assert said is not None
    assert f"the deploy of release 2, which died at the step {step}" in said
    number = serving.store.ledger().active
    assert number is not None
    if reboot and serving.serving() != number.release:
        # The old release was stopped for good and the new one is gone: the module restores what the ledger names.
        serving.deliver(serving.store.release(number.release), "restore")
    assert_tidy(serving, 1 if said.startswith("took back") else 2)
    assert serving.delivery().recover() is None


def kill_at(host: Host, step: str) -> None:
    """Die right before the step that follows `step`, or, at the last one, before it is done."""
    if step == AFTER_SWITCH[-1]:
        original = host.store.prune

        def die(_keep: int) -> list[int]:
            host.store.prune = original  # type: ignore[method-assign]
            raise Killed

        host.store.prune = die  # type: ignore[method-assign, assignment]
    else:
        host.kill_at = step


def test_run_that_dies_on_the_way_back_is_ended_by_the_next(serving: Host) -> None:
    serving.fails_later.add(2)
    original, serving.router.point = serving.router.point, None  # type: ignore[assignment,method-assign]

    def die_second(app: str, slot: str | None) -> None:
        if slot == BLUE:
            serving.router.point = original  # type: ignore[method-assign]
            raise Killed
        original(app, slot)

    serving.router.point = die_second  # type: ignore[method-assign, assignment]
    with pytest.raises(Killed):
        serving.deliver(release(2))
    assert serving.delivery().recover() == "took back the deploy of release 2, which died at the step return"
    assert_tidy(serving, 1)


def test_broken_lock_stops_the_run_before_its_next_step(serving: Host) -> None:
    def broken() -> None:
        raise LockError("broken")

    serving._maybe_die = broken  # type: ignore[method-assign]
    with pytest.raises(LockError):
        serving.deliver(release(2))
    assert serving.serving() == 1


def test_removed_app_leaves_only_its_history(serving: Host) -> None:
    serving.delivery().remove("me", "abc")
    assert serving.slots.states == {}
    assert serving.router.file is serving.router.running is None
    assert serving.store.numbers() == []
    assert outcomes(serving)[-1] == (1, "removed")


def test_busy_moment_is_no_problem_and_a_stopped_container_is(serving: Host) -> None:
    active = serving.store.ledger().active
    assert active is not None
    assert serving.delivery().problem(active, release(1)) is None
    serving.slots.stop(active.slot, 5)
    problem = serving.delivery().problem(active, release(1))
    assert problem == "release 1 should serve from the blue slot, but the container has stopped, exit code 0"


def test_slow_release_is_taken_back(serving: Host) -> None:
    serving.slow.add(2)
    with pytest.raises(Refused, match=r"its answers take 500 ms, and the old release's took 10 ms"):
        serving.deliver(release(2))
    assert_tidy(serving, 1)


def test_release_that_is_not_ready_any_more_is_taken_back_although_it_answers(serving: Host) -> None:
    serving.wrong_paths.add("/apps/demo/ready")
    with pytest.raises(Refused, match="behind the ingress, GET /apps/demo/ready was not answered"):
        serving.deliver(release(2))
    assert_tidy(serving, 1)


def test_release_as_slow_as_the_old_one_serves(serving: Host) -> None:
    serving.slow |= {1, 2}
    serving.deliver(release(2))
    assert_tidy(serving, 2)


class TestRecreate:
    def test_old_one_stops_first_and_the_downtime_is_recorded(self, serving: Host) -> None:
        delivery, wanted = serving.delivery(), delivered(2, strategy="recreate")
        serving.store.add(wanted, {})
        serving.slots.on_start = lambda: [state.running for state in serving.slots.states.values()]
        delivery.deliver(wanted, "deploy", "me", "abc")
        assert serving.slots.seen[-1] == [False], "there was no room for two"
        assert next(iter(delivery.steps)) == "vacate"
        assert_tidy(serving, 2)
        assert serving.store.ledger().history[-1].downtime > 0

    def test_old_one_comes_back_when_the_new_one_does_not_serve(self, serving: Host) -> None:
        serving.slots.broken.add(2)
        with pytest.raises(Refused, match=r"refused at the step gate.*Release 1 keeps serving, after 0\.\d+ s without"):
            serving.deliver(delivered(2, strategy="recreate"))
        assert_tidy(serving, 1)

    def test_old_one_comes_back_after_the_switch(self, serving: Host) -> None:
        serving.fails_later.add(2)
        with pytest.raises(Refused, match=r"(?s)was taken back after the switch.*log of release 2"):
            serving.deliver(delivered(2, strategy="recreate"))
        assert_tidy(serving, 1)

    def test_old_one_that_does_not_come_back_is_said(self, serving: Host) -> None:
        serving.slots.broken |= {1, 2}
        with pytest.raises(Refused, match="as the old release could not be brought back: the container has stopped"):
            serving.deliver(delivered(2, strategy="recreate"))
        assert serving.store.journal() is None, "the next run restores it"


class TestKeepPreviousRunning:
    @pytest.fixture
    def kept(self, serving: Host) -> Host:
        serving.deliver(delivered(2, keep_previous_running=True))
        return serving

    def test_old_one_runs_on_but_not_after_a_reboot(self, kept: Host) -> None:
        assert kept.serving() == 2
        assert kept.slots.states[BLUE].running
        kept.reboot()
        assert_tidy(kept, 2)

    def test_rollback_starts_nothing_and_takes_less_than_a_second(self, kept: Host) -> None:
        started, before = list(kept.slots.started), kept.clock.time
        kept.deliver(kept.store.release(1), "rollback")
        assert kept.slots.started == started
        assert kept.clock.time - before < 1
        assert_tidy(kept, 1)

    def test_next_deployment_takes_its_place(self, kept: Host) -> None:
        kept.deliver(delivered(3, keep_previous_running=True))
        assert [state.release for state in kept.slots.states.values()] == [3, 2]


def test_rollback_does_not_ask_what_the_release_has_proved(serving: Host) -> None:
    serving.deliver(release(2))
    delivery = serving.delivery()
    delivery.deliver(serving.store.release(1), "rollback", "me", "abc")
    assert list(delivery.steps) == ["start", "gate", "warm_up", "switch", "drain", "retire", "record"]


def test_secrets_stay_in_memory_only_for_what_runs(serving: Host) -> None:
    serving.deliver(release(2))
    assert serving.slots.secrets == {2}
    serving.slots.broken.add(3)
    with pytest.raises(Refused):
        serving.deliver(release(3))
    assert serving.slots.secrets == {2}


def test_run_whose_lock_was_broken_removes_nothing(serving: Host) -> None:
    serving.slots.broken.add(2)
    checks = iter([None, None])

    def broken() -> None:
        if next(checks, "broken"):
            raise LockError("broken")

    serving._maybe_die = broken  # type: ignore[method-assign]
    with pytest.raises(LockError):
        serving.deliver(release(2))
    assert serving.slots.states[GREEN].release == 2, "what stands in the slot may be the other run's by now"


def test_lack_of_memory_that_the_engine_says_late_is_told(serving: Host) -> None:
    serving.slots.broken.add(2)
    states = iter([137, 137, 137])

    def state(slot: str) -> State:
        late = next(states, None) is None
        found = serving.slots.states.get(slot, State())
        return replace(found, exit_code=137, out_of_memory=late) if found.release == 2 else found

    serving.slots.state = state  # type: ignore[method-assign]
    with pytest.raises(Refused, match="In the end the container was killed because it ran out of memory"):
        serving.deliver(release(2))
