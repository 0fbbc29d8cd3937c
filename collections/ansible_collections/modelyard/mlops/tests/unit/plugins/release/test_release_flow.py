# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""release_flow: one release serves at any moment, whatever happens, and the ledger knows which."""

from __future__ import annotations

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.ledger import Ledger, LockError
from ansible_collections.modelyard.mlops.plugins.module_utils.release_flow import (
    AFTER_SWITCH,
    BEFORE_SWITCH,
    Refused,
    decide,
)

from .fakes import Host, Killed, release

# Release 1 is the first, so the journal of its deployment begins in blue.
BLUE, GREEN = "blue", "green"


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


def test_steps_are_timed(host: Host) -> None:
    host.store.add(release(1), {})
    delivery = host.delivery()
    delivery.deliver(release(1), "deploy", "me", "abc")
    assert list(delivery.steps) == [*BEFORE_SWITCH, *AFTER_SWITCH]
    assert delivery.steps["watch"] == pytest.approx(1.0, abs=0.3)


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
    with pytest.raises(Refused, match="release 2 was taken back after the switch: behind the ingress"):
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
@pytest.mark.parametrize("step", [*BEFORE_SWITCH, *AFTER_SWITCH])
def test_run_that_dies_is_ended_by_the_next(serving: Host, step: str, reboot: bool) -> None:
    kill_at(serving, step)
    with pytest.raises(Killed):
        serving.deliver(release(2))
    if reboot:
        serving.reboot()
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
    serving.delivery().remove("me", "abc", 5, 5)
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


class TestDecide:
    def test_first(self) -> None:
        assert decide(None, release(1), [], None, True).action == "deploy"

    def test_same_is_nothing(self) -> None:
        same = release(3, image_key=release(2).image_key)
        assert decide(release(2), same, [], None, True).action == "none"

    def test_change_names_the_parts(self) -> None:
        decision = decide(release(2), release(3, secrets={"A": "1"}), [], None, True)
        assert (decision.action, decision.reason) == ("deploy", "changed: image, secrets")

    def test_rolled_back_stays_away_until_it_changes_or_is_forced(self) -> None:
        wanted = release(4, image_key=release(3).image_key)
        assert decide(release(2), wanted, [release(3)], None, True).action == "held"
        assert decide(release(2), wanted, [release(3)], None, True, force=True).action == "deploy"
        assert decide(release(2), release(5), [release(3)], None, True).action == "deploy"

    def test_broken_container_is_restored_and_wrong_route_corrected(self) -> None:
        same = release(3, image_key=release(2).image_key)
        assert decide(release(2), same, [], "it has stopped", True).action == "restore"
        assert decide(release(2), same, [], None, False).action == "redirect"
