# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""release_plan: what is done is what is needed, and it is said before."""

from __future__ import annotations

from ansible_collections.modelyard.mlops.plugins.module_utils.ledger import Active
from ansible_collections.modelyard.mlops.plugins.module_utils.release_plan import Decision, decide, moves

from .fakes import release


def test_first() -> None:
    assert decide(None, release(1), [], None, True).action == "deploy"


def test_same_is_nothing() -> None:
    same = release(3, image_key=release(2).image_key)
    assert decide(release(2), same, [], None, True).action == "none"


def test_change_names_the_parts() -> None:
    decision = decide(release(2), release(3, secrets={"A": "1"}), [], None, True)
    assert (decision.action, decision.reason) == ("deploy", "changed: image, secrets")


def test_rolled_back_stays_away_until_it_changes_or_is_forced() -> None:
    wanted = release(4, image_key=release(3).image_key)
    assert decide(release(2), wanted, [release(3)], None, True).action == "held"
    assert decide(release(2), wanted, [release(3)], None, True, force=True).action == "deploy"
    assert decide(release(2), release(5), [release(3)], None, True).action == "deploy"


def test_broken_container_is_restored_and_wrong_route_corrected() -> None:
    same = release(3, image_key=release(2).image_key)
    assert decide(release(2), same, [], "it has stopped", True).action == "restore"
    assert decide(release(2), same, [], None, False).action == "redirect"


class TestMoves:
    def test_nothing_moves_nothing(self) -> None:
        foreseen = moves(Decision("none", "", release(1)), Active(1, "green", "today"), None)
        assert (foreseen.slot, foreseen.lines) == ("green", [])
        assert foreseen.before == foreseen.after == {"blue": "nothing serves", "green": "release 1 serves"}

    def test_first_release_takes_the_slot_that_the_file_does_not_name(self) -> None:
        foreseen = moves(Decision("deploy", "", release(1)), None, "blue")
        assert (foreseen.slot, foreseen.lines) == ("green", ["start release 1 in the green slot"])

    def test_wrong_route_is_corrected(self) -> None:
        foreseen = moves(Decision("redirect", "", release(1)), Active(1, "blue", "today"), "green")
        assert foreseen.lines == ["send the requests to the blue slot"]
