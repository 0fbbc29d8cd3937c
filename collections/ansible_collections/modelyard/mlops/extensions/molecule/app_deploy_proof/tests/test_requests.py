# SPDX-License-Identifier: Apache-2.0
"""Not one request is lost, whatever happens behind the ingress; and no answer comes from what was never healthy."""

from __future__ import annotations

from typing import Any

from ansible_collections.modelyard.mlops.extensions.molecule.shared.traffic import Traffic

from .machine import Machine, shop

# Requests a second, where the machine has nothing else to do.
RATE = 200

BACK = {"name": "shop", "state": "rolled_back", "by": "proof"}
# Each in its own way; of a release that dies while it serves, requests would be lost.
BAD: list[dict[str, Any]] = [
    shop(2, BEHAVIOUR="exits"),
    {**shop(2, BEHAVIOUR="never ready"), "gate": {"in_a_row": 1, "budget": 1}},
    shop(2, BEHAVIOUR="hungry"),
    {**shop(2, BEHAVIOUR="unready later", AFTER=1), "watch": {"seconds": 2}},
    shop(3, BEHAVIOUR="exits", BOOT=0.3),
]


def test_no_request_is_lost_through_20_deployments_5_failed_ones_and_5_rollbacks(
    machine: Machine, serving: int
) -> None:
    runs: list[dict[str, Any]] = []
    for number, bad in enumerate(BAD):
        runs += [shop(version, ROUND=number) for version in (1, 2)] + [bad]
        runs += [shop(version, ROUND=number) for version in (3, 1)] + [BACK]
    # The fourth of a round differs from its first, which would else be the same release again.
    for run in runs[4::6]:
        run["env"]["AGAIN"] = "yes"
    with Traffic(machine.address, RATE) as traffic:
        results = machine.release(*runs)
    print(f"{traffic.rate:.0f} requests a second; {dict(traffic.answers)}")

    assert traffic.lost == []
    # The watches alone take over 20 seconds; a machine that cannot send as many takes longer for everything else.
    assert traffic.sent > 20 * RATE
    expected = (["deploy"] * 2 + ["failed"] + ["deploy"] * 2 + ["rollback"]) * len(BAD)
    assert ["failed" if result.get("failed") else result["action"] for result in results] == expected
    ended = {attempt["release"]: attempt["outcome"] for attempt in machine.ledger()["history"]}
    healthy = {str(release) for release, outcome in ended.items() if outcome in ("served", "returned")}
    assert set(traffic.answers) <= healthy
    assert len(traffic.answers) >= 20, "every release that took over was heard"
    assert machine.assert_tidy() > serving
