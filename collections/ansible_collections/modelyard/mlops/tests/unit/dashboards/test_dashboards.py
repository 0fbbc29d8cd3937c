# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The committed dashboards are what the code builds, and what Grafana can show."""

from __future__ import annotations

import json
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from ansible_collections.modelyard.mlops.dashboards.build import FOLDER, panels, queries, rendered
from ansible_collections.modelyard.mlops.dashboards.library import HEIGHT, STAT_HEIGHT
from ansible_collections.modelyard.mlops.dashboards.promql import metric_names
from ansible_collections.modelyard.mlops.dashboards.units import shown
from ansible_collections.modelyard.mlops.tests.unit.dashboards.exported import (
    OTHERS,
    RULES,
    exported,
    figures,
    of_an_app,
    rules,
)

BUILT = {name: json.loads(text) for name, text in rendered().items()}
SHOWN = {name for dashboard in BUILT.values() for _title, query in queries(dashboard) for name in metric_names(query)}


def test_the_committed_files_are_what_the_code_builds() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    assert committed == rendered(), "run `make dashboards` and commit what it writes"


def test_uids_and_titles_are_unique() -> None:
    for key in ("uid", "title"):
        values = [dashboard[key] for dashboard in BUILT.values()]
        assert len(values) == len(set(values))


@pytest.mark.parametrize("dashboard", BUILT.values(), ids=BUILT)
def test_it_fits_the_schema_of_the_sdk(dashboard: dict[str, Any]) -> None:
    register_default_plugins()
    read = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(dashboard)))
    # Reading fills in an object where nothing was said.
    assert full(read) == full(dashboard)


def full(value: Any) -> Any:
    """A value without the empty objects in it."""
    if isinstance(value, dict):
        return {name: full(inner) for name, inner in value.items() if inner != {}}
    return [full(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("dashboard", BUILT.values(), ids=BUILT)
def test_panels_and_queries_can_be_told_apart(dashboard: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in panels(dashboard)]
    assert len(ids) == len(set(ids))
    for panel in panels(dashboard):
        letters = [target["refId"] for target in panel.get("targets", [])]
        assert letters == list("ABCDEF"[: len(letters)])


@pytest.mark.parametrize("dashboard", BUILT.values(), ids=BUILT)
def test_it_can_be_narrowed_down_and_leads_to_the_others(dashboard: dict[str, Any]) -> None:
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert {"environment", "instance" if dashboard["title"] != "Model" else "app"} <= set(variables)
    assert all(variable["datasource"]["uid"] == "prometheus" and variable["label"] for variable in variables.values())
    assert [(link["type"], link["tags"], link["keepTime"]) for link in dashboard["links"]] == [
        ("dashboards", dashboard["tags"], True)
    ]
    text = json.dumps(dashboard["panels"])
    assert all(f"${name}" in text for name in variables)


@pytest.mark.parametrize("dashboard", BUILT.values(), ids=BUILT)
def test_panels_fit_a_laptop_and_have_their_levels(dashboard: dict[str, Any]) -> None:
    for panel in panels(dashboard):
        # A screen of 900 pixels shows some 22 units of the grid, so one graph and the one below it.
        assert panel["gridPos"]["h"] <= max(HEIGHT, STAT_HEIGHT) <= 11
        if panel["type"] == "stat":
            assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        if panel["type"] != "row":
            assert shown(1, panel["fieldConfig"]["defaults"]["unit"])


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
    # The last run's start, promotion and version are the champion's, or are in MLflow.
    unseen = {f"modelyard_training_{name}" for name in ("started_timestamp_seconds", "promoted", "model_version")}
    assert figures() - SHOWN == unseen


def test_each_metric_of_an_app_has_a_panel() -> None:
    assert of_an_app() - SHOWN == set()


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
