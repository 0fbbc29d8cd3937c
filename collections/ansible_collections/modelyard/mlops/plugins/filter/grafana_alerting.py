# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Make Grafana's provisioning file for alerting, which also removes what code no longer has."""

from __future__ import annotations

import typing as t

DOCUMENTATION = r"""
name: grafana_alerting
short_description: Make Grafana's provisioning file for alerting, which also removes what code no longer has
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
description:
  - What leaves a provisioning file stays in Grafana's database until a file asks for its removal. So whatever the
    former file had, or removed, and code has no more is removed by the new one.
positional: former
options:
  _input:
    description: What code wants, in the words of Grafana's file provisioning of alerting.
    type: dict
    required: true
  former:
    description: The file that is on the host.
    type: dict
    default: {}
"""

EXAMPLES = r"""
file: "{{ {'contactPoints': []} | modelyard.mlops.grafana_alerting(former) }}"
# with a former file that had a contact point with the uid "chat":
# => {"apiVersion": 1, "contactPoints": [], "deleteContactPoints": [{"orgId": 1, "uid": "chat"}]}
"""

RETURN = r"""
_value:
  description: The new file.
  type: dict
"""

Dict = dict[str, t.Any]

# What a file has, what removes it, by which key, and in which list of each entry the things with that key are.
KINDS = (
    ("groups", "deleteRules", "uid", "rules"),
    ("contactPoints", "deleteContactPoints", "uid", "receivers"),
    ("muteTimes", "deleteMuteTimes", "name", None),
    ("templates", "deleteTemplates", "name", None),
)


def grafana_alerting(wanted: t.Mapping[str, t.Any], former: t.Mapping[str, t.Any] | None = None) -> Dict:
    """The file's content."""
    before = former or {}
    made: Dict = {"apiVersion": 1, **wanted}
    for kind, removal, key, inside in KINDS:
        gone = _things(before, kind, key, inside) | {(_org(one), one[key]) for one in before.get(removal) or []}
        gone -= _things(wanted, kind, key, inside)
        gone |= {(_org(one), one[key]) for one in wanted.get(removal) or []}
        if gone:
            made[removal] = [{"orgId": org, key: name} for org, name in sorted(gone)]
    reset = {_org(one) for one in before.get("policies") or []} | set(before.get("resetPolicies") or [])
    reset -= {_org(one) for one in wanted.get("policies") or []}
    reset |= set(wanted.get("resetPolicies") or [])
    if reset:
        made["resetPolicies"] = sorted(reset)
    return made


def _things(file: t.Mapping[str, t.Any], kind: str, key: str, inside: str | None) -> set[tuple[int, str]]:
    """The organisation and the key of each thing of a kind."""
    entries = file.get(kind) or []
    return {(_org(entry), str(one[key])) for entry in entries for one in (entry[inside] if inside else [entry])}


def _org(entry: t.Mapping[str, t.Any]) -> int:
    return int(entry.get("orgId", 1))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"grafana_alerting": grafana_alerting}
