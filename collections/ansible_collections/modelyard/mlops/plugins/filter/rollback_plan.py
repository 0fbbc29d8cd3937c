# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Find out which release of an app each host goes back to, so that afterwards all serve the same."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: rollback_plan
short_description: Find out which release of an app each host goes back to
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
description:
  - Each host numbers its releases itself, so "the one before" and "release 3" may be something else on each. Releases
    of the same image and model version count as the same one.
  - Without O(release), what is left is the newest release that serves anywhere, and only the hosts that serve it go
    back. A host that the last delivery has not reached serves the one before already.
  - Fails, before anything has changed, when the hosts would not all come to the same release.
positional: release, release_of
options:
  _input:
    description: By host, the C(apps) that M(modelyard.mlops.app_release_info) returned for the one app.
    type: dict
    required: true
  release:
    description: The number of the release to go back to, instead of the one before.
    type: int
  release_of:
    description: The host whose number O(release) is, when it means different things on different hosts.
    type: str
"""

EXAMPLES = r"""
plan: "{{ {'web-1': info_of_web_1.apps, 'web-2': info_of_web_2.apps} | modelyard.mlops.rollback_plan }}"
# => {"web-1": {"release": 3, "reason": "back to release 3 (shop:2)"},
#     "web-2": {"release": null, "reason": "serves release 2 (shop:2) already"}}
"""

RETURN = r"""
_value:
  description: By host, the C(release) to go back to, or none, and the C(reason).
  type: dict
"""

Info = dict[str, t.Any]
Release = dict[str, t.Any]
Plan = dict[str, dict[str, t.Any]]


def rollback_plan(
    infos: t.Mapping[str, t.Sequence[Info]], release: int | str | None = None, release_of: str | None = None
) -> Plan:
    """The release for each host, or why it stays as it is."""
    serving = {host: info for host, apps in infos.items() for info in apps if info["active"]}
    if not serving:
        raise AnsibleFilterError(f"nothing serves this app on {', '.join(infos)}, so there is nothing to go back from")
    chosen = _before(serving) if release is None else _numbered(serving, int(release), release_of)
    return {host: _step(info, chosen.get(host)) for host, info in serving.items()}


def _before(serving: t.Mapping[str, Info]) -> dict[str, Release]:
    """The release before the newest that serves, on the hosts that serve that one."""
    newest = max((info["active"] for info in serving.values()), key=lambda active: str(active["created"]))
    chosen: dict[str, Release] = {}
    for host, info in serving.items():
        if _same(info["active"], newest):
            earlier = [one for one in info["releases"] if one["number"] not in _left(info)]
            if not earlier:
                left = [_name(one) for one in info["releases"] if one["number"] in info["held"]]
                raise AnsibleFilterError(
                    f"{host} keeps no earlier release of this app: leave it out with --limit"
                    + (f", or name one that was gone back from with -e release=N: {', '.join(left)}" if left else "")
                )
            chosen[host] = earlier[0]
    goals = list(chosen.values())
    if not all(_same(goal, goals[0]) for goal in goals):
        listed = "; ".join(f"{host}: {_name(goal)}" for host, goal in chosen.items())
        raise AnsibleFilterError(
            f"the release before is not the same on all hosts: {listed}. Say which with -e release=N "
            "-e release_of=HOST, or take some hosts with --limit"
        )
    # A host that serves the goal already is told so; one that serves anything else is left alone.
    already = {host: info["active"] for host, info in serving.items() if _same(info["active"], goals[0])}
    return {**already, **chosen}


def _numbered(serving: t.Mapping[str, Info], number: int, release_of: str | None) -> dict[str, Release]:
    """The release that has the number on the named host, or means the same on all hosts that have it."""
    if release_of is not None and release_of not in serving:
        raise AnsibleFilterError(f"release_of: {release_of} does not serve this app; these do: {', '.join(serving)}")
    owners = [release_of] if release_of else list(serving)
    meant = {host: one for host in owners for one in serving[host]["releases"] if one["number"] == number}
    if not meant:
        kept = "; ".join(f"{host}: {', '.join(map(_name, serving[host]['releases']))}" for host in owners)
        raise AnsibleFilterError(f"release: none that has served is kept under the number {number}. There are {kept}")
    goal = next(iter(meant.values()))
    if not all(_same(one, goal) for one in meant.values()):
        listed = "; ".join(f"{host}: {_name(one)}" for host, one in meant.items())
        raise AnsibleFilterError(f"release: {number} is another one on each host: {listed}. Add -e release_of=HOST")
    found = {host: _find(info, goal, number) for host, info in serving.items()}
    lacking = [host for host, one in found.items() if one is None]
    if lacking:
        raise AnsibleFilterError(f"{_name(goal)} is not kept on {', '.join(lacking)}: leave them out with --limit")
    return {host: one for host, one in found.items() if one is not None}


def _find(info: Info, goal: Release, number: int) -> Release | None:
    """The host's own record of a release: of the same number if that is it, else what serves, else the latest."""
    same = [one for one in info["releases"] if _same(one, goal)]
    preferred = [one for one in same if one["number"] == number]
    preferred += [one for one in same if one["number"] == info["active"]["number"]]
    return next(iter([*preferred, *same]), None)


def _step(info: Info, goal: Release | None) -> dict[str, t.Any]:
    if goal is None:
        return {"release": None, "reason": f"serves {_name(info['active'])}, and is left alone"}
    if goal["number"] == info["active"]["number"]:
        return {"release": None, "reason": f"serves {_name(goal)} already"}
    return {"release": goal["number"], "reason": f"back to {_name(goal)}"}


def _left(info: Info) -> set[int]:
    """What is no way back: what serves, and what somebody went back from."""
    return {info["active"]["number"], *info["held"]}


def _same(one: Release, another: Release) -> bool:
    return _identity(one) == _identity(another)


def _identity(release: Release) -> tuple[str, ...]:
    model = release["model"]
    return (release["image_key"], *(model.get(part, "") for part in ("name", "version", "digest")))


def _name(release: Release) -> str:
    model = release["model"]
    return f"release {release['number']} ({release['image']}" + (
        f", model {model['name']} {model['version']})" if model else ")"
    )


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"rollback_plan": rollback_plan}
