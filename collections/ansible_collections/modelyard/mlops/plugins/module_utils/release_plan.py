# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What has to happen to an app on a host, and what it means for the two slots."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .ledger import Active
from .release import SLOTS, Release, differences, other

DEPLOYS = ("deploy", "restore", "rollback", "undo")


@dataclass(frozen=True)
class Decision:
    """What has to happen: `none`, `held`, `redirect`, `restore`, `deploy`, `rollback` or `undo`; and why.

    :ivar target: the release that serves afterwards.
    """

    action: str
    reason: str
    target: Release

    @property
    def changes(self) -> bool:
        """Whether anything on the host changes."""
        return self.action not in ("none", "held")


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
        return Decision("deploy", "forced" if force else "first release", wanted)
    if parts and taken_back is None:
        return Decision("deploy", f"changed: {', '.join(parts)}", wanted)
    if problem:
        return Decision("restore", problem, active)
    if not route_is_right:
        return Decision("redirect", "the ingress does not send the app's requests to the serving slot", active)
    if parts:
        return Decision(
            "held",
            f"release {active.number} keeps serving, as release {taken_back}, which is wanted, was rolled back. "
            "Change something, or set force, to deploy it",
            active,
        )
    return Decision("none", f"release {active.number} serves", active)


@dataclass(frozen=True)
class Moves:
    """What a decision does to the slots.

    :ivar slot: where the release serves afterwards.
    :ivar lines: what starts and stops, in its order.
    :ivar before: the slots as they are.
    :ivar after: the slots as they will be.
    """

    slot: str
    lines: list[str]
    before: dict[str, str]
    after: dict[str, str]


def moves(decision: Decision, active: Active | None, file_slot: str | None) -> Moves:
    """Foresee what a decision does to the slots.

    :param file_slot: the slot that the ingress' file names, which counts where nothing is recorded.
    """
    current = active.slot if active else file_slot
    before = dict.fromkeys(SLOTS, "nothing serves")
    if active:
        before[active.slot] = f"release {active.release} serves"
    if decision.action not in DEPLOYS:
        lines = [f"send the requests to the {current} slot"] if decision.action == "redirect" else []
        return Moves(current or "", lines, before, before)
    slot = other(current)
    start, stop = f"start release {decision.target.number} in the {slot} slot", []
    if active:
        waits = decision.target.delivery["keep_previous_running"] and decision.action == "deploy"
        stop = [f"{'keep' if waits else 'stop'} release {active.release} in the {active.slot} slot"]
    recreate = decision.target.delivery["strategy"] == "recreate"
    lines = [*stop, start] if recreate else [start, *stop]
    after = {slot: f"release {decision.target.number} serves", other(slot): "nothing serves"}
    return Moves(slot, lines, before, after)
