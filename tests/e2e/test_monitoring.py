# SPDX-License-Identifier: Apache-2.0
"""What is watched is really seen: each query of each panel, each rule, and an alert that reaches somebody."""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from waiting import wait_for

from ansible_collections.modelyard.mlops.dashboards.build import FOLDER, panels
from ansible_collections.modelyard.mlops.dashboards.live import Live, QueryError, Span
from ansible_collections.modelyard.mlops.dashboards.promql import metric_names

if TYPE_CHECKING:
    from conftest import E2EYard

DASHBOARDS = sorted(FOLDER.glob("*.json"))

# What is exported and shown nowhere, by how its name begins, and why.
UNSEEN = {
    "python_": "the interpreter's own, for who looks for a leak",
    "process_": "the interpreter's own, for who looks for a leak",
    "request_latency_seconds_created": "when the counter began; rate() sees that by itself",
    "modelyard_training_": "of the last run: its start and end are in the status, the rest in MLflow",
}


class Prometheus:
    """The yard's Prometheus, through the ingress, as an `Ask` of the dashboards."""

    def __init__(self, yard: E2EYard) -> None:
        self._yard = yard

    def __call__(self, path: str, parameters: Mapping[str, str]) -> Any:
        query = urllib.parse.urlencode(parameters)
        answer = self._yard.http(f"/prometheus/api/v1/{path}?{query}", scheme="https", login=True, timeout=30)
        if answer.status != 200:
            raise QueryError(f"{parameters}: {answer.body}")
        return answer.json["data"]

    def finds(self, query: str) -> list[Any]:
        """Return what a query finds now."""
        found: list[Any] = self("query", {"query": query})["result"]
        return found

    def rules(self, kind: str) -> list[dict[str, Any]]:
        """Return the rules that it has loaded: kind is recording or alerting."""
        groups = self("rules", {})["groups"]
        return [rule for group in groups for rule in group["rules"] if rule["type"] == kind]


@pytest.fixture(scope="module")
def prometheus(yard: E2EYard) -> Prometheus:
    """The yard's Prometheus, after some minutes of everybody's requests, of wrong ones, and of drift."""
    said = yard.make("load", "RATE=20", "FOR=20", "BAD=0.1", "DRIFT=0.3")
    assert "prediction " in said
    assert "bad request " in said
    time.sleep(11)  # two more looks at the targets, and an evaluation of the rules
    return Prometheus(yard)


def test_all_targets_answer(prometheus: Prometheus) -> None:
    def found() -> dict[tuple[str, str], str]:
        return {(one["metric"]["job"], one["metric"]["environment"]): one["value"][1] for one in prometheus.finds("up")}

    jobs = ("alertmanager", "app", "ingress", "node", "prometheus")
    wait_for(found, {(job, "rehearsal"): "1" for job in jobs})


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_query_of_every_panel_finds_something(prometheus: Prometheus, path: Path) -> None:
    live = Live(json.loads(path.read_text(encoding="utf-8")), prometheus)

    def empty() -> list[str]:
        span = Span((end := time.time()) - 120, end, 5)
        return [
            f"{panel['title']}: {live.filled(target['expr'])}"
            for panel in panels(dict(live.dashboard))
            for target, found in zip(panel.get("targets", []), live.series(panel, span), strict=True)
            if not found
        ]

    wait_for(empty, [])


def test_the_deployments_are_drawn_on_every_dashboard(prometheus: Prometheus) -> None:
    end = time.time()
    for path in DASHBOARDS:
        live = Live(json.loads(path.read_text(encoding="utf-8")), prometheus)
        assert live.annotations(Span(end - 3600, end, 15)), path.stem


def test_every_rule_is_evaluated_and_knows_what_it_speaks_of(prometheus: Prometheus) -> None:
    recording = prometheus.rules("recording")
    rules = prometheus.rules("alerting") + recording
    assert [rule.get("lastError") for rule in rules if rule["health"] != "ok"] == []
    # An alert is rightly silent; that the series are there which it looks at shows that it could speak.
    names = {name for rule in rules for name in metric_names(rule["query"])} | {rule["name"] for rule in recording}
    wait_for(lambda: {name for name in names if not prometheus.finds(name)}, set())


def test_every_metric_of_ours_has_a_panel_or_a_rule(prometheus: Prometheus) -> None:
    ours = set(prometheus("label/__name__/values", {"match[]": '{job="app"}'}))
    ours |= set(prometheus("label/__name__/values", {"match[]": '{__name__=~"modelyard_.*"}'}))
    # What Prometheus adds to each target by itself.
    ours -= {name for name in ours if name == "up" or name.startswith(("scrape_", "ALERTS"))}
    rules = prometheus.rules("alerting") + prometheus.rules("recording")
    used = {name for rule in rules for name in metric_names(rule["query"])}
    for path in DASHBOARDS:
        for panel in panels(json.loads(path.read_text(encoding="utf-8"))):
            used |= {name for target in panel.get("targets", []) for name in metric_names(target["expr"])}
    assert {name for name in ours - used if not name.startswith(tuple(UNSEEN))} == set()


def test_the_dead_mans_switch_rings(yard: E2EYard) -> None:
    alert = yard.receiver.wait_for("DeadMansSwitch", "firing", since=0, seconds=10)
    assert alert["annotations"]["runbook_url"].endswith("/docs/runbooks.md#deadmansswitch")


def test_an_app_that_stops_is_told_to_people_and_so_is_its_return(yard: E2EYard) -> None:
    app = " ".join(yard.ssh("docker ps --quiet --filter label=modelyard.app=iris").split())
    broken = time.time()
    yard.ssh(f"docker stop {app}")
    try:
        alert = yard.receiver.wait_for("ApiDown", "firing", since=broken, seconds=100)
    finally:
        yard.ssh(f"docker start {app}")
    assert alert["labels"].items() >= {"app": "iris", "environment": "rehearsal", "severity": "critical"}.items()
    assert alert["annotations"]["summary"] == "iris does not answer"
    yard.receiver.wait_for("ApiDown", "resolved", since=time.time() - 1, seconds=60)
    assert yard.http("/health").status == 200
