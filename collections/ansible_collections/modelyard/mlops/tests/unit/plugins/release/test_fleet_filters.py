# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What is decided over several hosts: which release is the one before, when to stop, and what to show."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.modelyard.mlops.plugins.filter.delivery_verdict import delivery_verdict
from ansible_collections.modelyard.mlops.plugins.filter.release_table import release_table
from ansible_collections.modelyard.mlops.plugins.filter.rollback_plan import rollback_plan


def one(number: int, version: int, model: str = "") -> dict[str, Any]:
    """A release of the image `shop:version`; later versions were made later."""
    described = {"name": "taste", "version": model, "digest": ""} if model else {}
    return {
        "number": number,
        "image": f"shop:{version}",
        "image_key": f"sha256:{version:064}",
        "model": described,
        "commit": f"c{version}",
        "created": f"2026-01-{version:02}T08:00:00.000Z",
    }


def info(*releases: dict[str, Any], held: tuple[int, ...] = (), **changes: Any) -> dict[str, Any]:
    """A host's ledger; the first release serves."""
    active = {**releases[0], "slot": "blue", "since": "2026-02-01T08:01:22.123Z", "by": "kim"} if releases else None
    app = {"name": "shop", "active": active, "held": list(held), "releases": list(releases)}
    return {**app, "history": [], "unfinished": None, "deploying": "", **changes}


def plan(infos: dict[str, Any], *arguments: Any) -> dict[str, dict[str, Any]]:
    return rollback_plan({host: [one] if one else [] for host, one in infos.items()}, *arguments)


def goals(infos: dict[str, Any], *arguments: Any) -> dict[str, int | None]:
    return {host: step["release"] for host, step in plan(infos, *arguments).items()}


class TestRollbackPlan:
    def test_the_same_release_has_another_number_on_each_host(self) -> None:
        assert goals({"a": info(one(7, 3), one(6, 2)), "b": info(one(3, 3), one(2, 2))}) == {"a": 6, "b": 2}

    def test_a_host_that_the_last_delivery_did_not_reach_stays(self) -> None:
        steps = plan({"a": info(one(3, 3), one(2, 2)), "b": info(one(2, 2), one(1, 1))})
        assert {host: step["release"] for host, step in steps.items()} == {"a": 2, "b": None}
        assert steps["b"]["reason"] == "serves release 2 (shop:2) already"

    def test_the_same_run_again_changes_nothing_more_while_a_host_is_behind(self) -> None:
        behind = {"a": info(one(2, 2), one(3, 3), one(1, 1), held=(3,)), "b": info(one(3, 3), one(2, 2), one(1, 1))}
        assert goals(behind) == {"a": None, "b": 2}

    def test_what_somebody_went_back_from_is_no_way_back(self) -> None:
        assert goals({"a": info(one(2, 2), one(3, 3), one(1, 1), held=(3,))}) == {"a": 1}

    def test_a_host_that_serves_something_else_is_left_alone(self) -> None:
        steps = plan({"a": info(one(3, 3), one(2, 2)), "b": info(one(1, 1))})
        assert steps["b"] == {"release": None, "reason": "serves release 1 (shop:1), and is left alone"}

    def test_another_model_is_another_release(self) -> None:
        assert goals({"a": info(one(2, 1, "9"), one(1, 1, "8")), "b": info(one(1, 1, "8"))}) == {"a": 1, "b": None}

    def test_hosts_that_would_part_are_refused(self) -> None:
        with pytest.raises(AnsibleFilterError, match=r"a: release 2 \(shop:2\); b: release 1 \(shop:1\)"):
            plan({"a": info(one(3, 3), one(2, 2)), "b": info(one(2, 3), one(1, 1))})

    def test_nothing_to_go_back_to_and_nothing_to_go_back_from(self) -> None:
        with pytest.raises(AnsibleFilterError, match="b keeps no earlier release"):
            plan({"a": info(one(2, 2), one(1, 1)), "b": info(one(1, 2))})
        with pytest.raises(AnsibleFilterError, match="nothing serves this app on a, b"):
            plan({"a": {}, "b": info()})

    def test_what_was_gone_back_from_is_offered_by_its_number(self) -> None:
        with pytest.raises(AnsibleFilterError, match=r"-e release=N: release 1 \(shop:1\)$"):
            plan({"a": info(one(2, 2), one(1, 1), held=(1,))})

    def test_a_number_means_its_release_on_every_host(self) -> None:
        infos = {"a": info(one(7, 3), one(5, 1)), "b": info(one(3, 3), one(1, 1)), "c": {}}
        assert goals(infos, "5") == {"a": 5, "b": 1}
        assert goals(infos, 7) == {"a": None, "b": None}

    def test_a_number_with_two_meanings_wants_a_host(self) -> None:
        infos = {"a": info(one(3, 3), one(2, 2), one(1, 1)), "b": info(one(4, 3), one(3, 2), one(2, 1))}
        with pytest.raises(AnsibleFilterError, match="Add -e release_of=HOST"):
            plan(infos, 2)
        assert goals(infos, 2, "a") == {"a": 2, "b": 3}
        assert goals(infos, 2, "b") == {"a": 1, "b": 2}

    def test_a_number_that_some_host_cannot_follow_is_refused_before_any_changes(self) -> None:
        infos = {"a": info(one(3, 3), one(1, 1)), "b": info(one(3, 3))}
        with pytest.raises(AnsibleFilterError, match=r"release 1 \(shop:1\) is not kept on b"):
            plan(infos, 1)
        with pytest.raises(AnsibleFilterError, match="kept under the number 9"):
            plan(infos, 9)
        with pytest.raises(AnsibleFilterError, match="release_of: c does not serve"):
            plan(infos, 1, "c")


class TestDeliveryVerdict:
    HOSTS = ("a", "b", "c", "d")

    @pytest.mark.parametrize(
        ("outcomes", "allowed", "stop"),
        [
            ({}, 0, False),
            ({"a": "", "b": ""}, 0, False),
            ({"a": "", "b": "bad"}, 0, True),
            ({"a": "", "b": "bad"}, 25, False),
            ({"a": "", "b": "bad", "c": "bad"}, "25", True),
            ({"a": "bad"}, 25, True),
        ],
        ids=["nobody yet", "all well", "one too many", "one may", "two too many", "the canary"],
    )
    def test_stops_when_too_many_failed(self, outcomes: dict[str, str], allowed: float, stop: bool) -> None:
        assert delivery_verdict(outcomes, self.HOSTS, allowed)["stop"] is stop

    def test_tells_each_host_its_ending(self) -> None:
        endings = delivery_verdict({"a": "", "b": "bad"}, self.HOSTS)["endings"]
        assert endings["b"] == "bad"
        assert "failed on b: what it had switched here was taken back" in endings["a"]
        assert "failed on b before" in endings["c"]
        assert set(delivery_verdict(dict.fromkeys(self.HOSTS, ""), self.HOSTS)["endings"].values()) == {""}


class TestReleaseTable:
    def test_columns_are_as_wide_as_they_must_be(self) -> None:
        attempt = {"started": "2026-02-01T08:01:20.500Z", "release": 7, "action": "deploy", "outcome": "refused"}
        attempt |= {"by": "", "commit": "", "reason": "bad\nsecond line", "downtime": 1.5}
        shop = info(one(6, 2, "9"), held=(5,), history=[attempt])
        lines = release_table({"web-1": {"apps": [shop]}, "b": {}})
        assert lines == [
            "HOST   APP   RELEASE  SINCE                BY   COMMIT  IMAGE   MODEL    SLOT",
            "web-1  shop  6        2026-02-01 08:01:22  kim  c2      shop:2  taste 9  blue  rolled back: 5",
            "",
            "HOST   APP   BEGUN                RELEASE  WHAT    ENDED    BY  COMMIT  WHY",
            "web-1  shop  2026-02-01 08:01:20  7        deploy  refused  -   -       nothing served for 1.5 s: bad",
            "",
            "Not reached: b",
        ]

    def test_nothing_serves_and_a_run_is_under_way(self) -> None:
        journal = {"action": "deploy", "release": 1, "step": "gate"}
        for deploying, how in (("", "died at gate"), ("ada (process 7) since today", "is at gate, by ada (process 7)")):
            lines = release_table({"a": {"apps": [info(unfinished=journal, deploying=deploying)]}})
            assert f"a shop none - - - - - - deploy of release 1 {how}" in " ".join(lines[1].split())

    def test_no_app_at_all(self) -> None:
        assert release_table({"a": {"apps": []}}) == ["No app has ever been deployed here."]
