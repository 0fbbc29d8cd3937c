# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What code has no more is removed from Grafana, and stays removed."""

from __future__ import annotations

from typing import Any

from ansible_collections.modelyard.mlops.plugins.filter.grafana_alerting import grafana_alerting


def point(*uids: str, name: str = "people") -> dict[str, Any]:
    return {"orgId": 1, "name": name, "receivers": [{"uid": uid, "type": "webhook"} for uid in uids]}


NIGHT = {"orgId": 1, "name": "night", "time_intervals": []}
TREE = {"orgId": 1, "receiver": "people"}


def test_a_fresh_host_gets_what_is_wanted() -> None:
    wanted = {"contactPoints": [point("chat")], "policies": [TREE], "muteTimes": [NIGHT]}
    assert grafana_alerting(wanted) == {"apiVersion": 1, **wanted}
    assert grafana_alerting({}) == {"apiVersion": 1}


def test_what_is_gone_from_code_is_removed() -> None:
    rule = {"orgId": 1, "name": "group", "rules": [{"uid": "r1"}]}
    former = {"contactPoints": [point("chat", "mail")], "policies": [TREE], "muteTimes": [NIGHT], "groups": [rule]}
    assert grafana_alerting({"contactPoints": [point("mail")]}, former) == {
        "apiVersion": 1,
        "contactPoints": [point("mail")],
        "deleteContactPoints": [{"orgId": 1, "uid": "chat"}],
        "deleteMuteTimes": [{"orgId": 1, "name": "night"}],
        "deleteRules": [{"orgId": 1, "uid": "r1"}],
        "resetPolicies": [1],
    }


def test_the_next_run_changes_nothing() -> None:
    once = grafana_alerting({}, {"contactPoints": [point("chat")], "policies": [TREE]})
    assert grafana_alerting({}, once) == once


def test_what_comes_back_is_removed_no_more() -> None:
    gone = grafana_alerting({}, {"contactPoints": [point("chat")], "policies": [TREE], "muteTimes": [NIGHT]})
    wanted = {"contactPoints": [point("chat")], "policies": [TREE], "muteTimes": [NIGHT]}
    assert grafana_alerting(wanted, gone) == {"apiVersion": 1, **wanted}


def test_what_the_user_removes_is_kept() -> None:
    wanted = {"deleteContactPoints": [{"uid": "by-hand"}], "resetPolicies": [2]}
    assert grafana_alerting(wanted) == {
        "apiVersion": 1,
        "deleteContactPoints": [{"orgId": 1, "uid": "by-hand"}],
        "resetPolicies": [2],
    }
