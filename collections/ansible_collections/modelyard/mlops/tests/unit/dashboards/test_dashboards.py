# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The committed dashboards are what the code builds, and what Grafana can show."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.modelyard.mlops.dashboards.build import FOLDER, panels, queries, rendered
from ansible_collections.modelyard.mlops.tests.unit.dashboards.exported import (
    OTHERS,
    RULES,
    exported,
    figures,
    metric_names,
    rules,
)

BUILT = {name: json.loads(text) for name, text in rendered().items()}


def test_the_committed_files_are_what_the_code_builds() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    assert committed == rendered(), "run `make dashboards` and commit what it writes"


def test_uids_and_titles_are_unique() -> None:
    for key in ("uid", "title"):
        values = [dashboard[key] for dashboard in BUILT.values()]
        assert len(values) == len(set(values))


@pytest.mark.parametrize("dashboard", BUILT.values(), ids=BUILT)
def test_each_panel_explains_itself(dashboard: dict[str, Any]) -> None:
    shown = [panel for panel in panels(dashboard) if panel["type"] != "row"]
    assert shown
    for panel in shown:
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert {source["uid"] for source in (panel["datasource"], *(t["datasource"] for t in panel["targets"]))} == {
            "prometheus"
        }


@pytest.mark.parametrize("dashboard", BUILT.values(), ids=BUILT)
def test_panels_do_not_overlap(dashboard: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels(dashboard):
        grid = panel["gridPos"]
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken
        assert grid["x"] + grid["w"] <= 24
        taken |= cells


@pytest.mark.parametrize("text", rendered().values(), ids=BUILT)
def test_nothing_points_to_one_machine(text: str) -> None:
    assert "http://" not in text
    assert "https://" not in text
    assert "127.0.0.1" not in text


def test_the_service_dashboard_shows_the_three_metrics() -> None:
    expressions = [expression for _unused, expression in queries(BUILT["modelyard-service.json"])]
    for metric in ("rate(request_count_total[1m])", "in_progress", "request_latency_seconds_bucket"):
        assert any(metric in expression for expression in expressions)


def test_each_metric_of_a_query_is_exported_by_something() -> None:
    known = exported()
    for dashboard in BUILT.values():
        for title, expression in queries(dashboard):
            assert metric_names(expression)
            unknown = {name for name in metric_names(expression) - known if not name.startswith(OTHERS)}
            assert not unknown, title


def test_each_metric_of_a_rule_is_exported_by_something() -> None:
    known = exported()
    for path in RULES.glob("*.yml"):
        for rule in rules(path):
            unknown = {name for name in metric_names(rule["expr"]) - known if not name.startswith(OTHERS)}
            assert not unknown, rule


def test_each_figure_of_ours_has_a_panel() -> None:
    shown = {
        name for dashboard in BUILT.values() for _unused, query in queries(dashboard) for name in metric_names(query)
    }
    # The last run's start, promotion and version are the champion's, or are in MLflow.
    unseen = {f"modelyard_training_{name}" for name in ("started_timestamp_seconds", "promoted", "model_version")}
    assert figures() - shown == unseen


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ('sum by (a, b) (rate(x_total{y="z_total",n=~".*"}[5m])) or vector(0)', {"x_total"}),
        ("a:b:c / on (x) group_left (y) d * 1e3 unless ignoring (z) e", {"a:b:c", "d", "e"}),
        ("histogram_quantile(0.5, sum by (le) (rate(x_bucket[5m])))", {"x_bucket"}),
    ],
)
def test_metrics_are_found_in_a_query(expression: str, names: set[str]) -> None:
    assert metric_names(expression) == names


@pytest.mark.parametrize("dashboard", BUILT.values(), ids=BUILT)
def test_each_dashboard_shows_the_deployments(dashboard: dict[str, Any]) -> None:
    assert [(item["name"], item["datasource"]["uid"]) for item in dashboard["annotations"]["list"]] == [
        ("Deployments", "prometheus")
    ]


def test_no_variable_is_left_in_a_query() -> None:
    for dashboard in BUILT.values():
        for title, expression in queries(dashboard):
            assert "$" not in expression, title
