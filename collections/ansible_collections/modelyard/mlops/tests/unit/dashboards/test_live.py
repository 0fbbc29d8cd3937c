# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Queries are asked as Grafana would ask them; Prometheus itself is asked end to end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ansible_collections.modelyard.mlops.dashboards.build import rendered
from ansible_collections.modelyard.mlops.dashboards.live import Live, Span
from ansible_collections.modelyard.mlops.dashboards.picture import draw

SPAN = Span(1000.0, 1600.0, 60.0)


class Answers:
    """Stands in for a Prometheus: every query finds two lines, and remembers what it was."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []

    def __call__(self, path: str, parameters: Mapping[str, str]) -> Any:
        self.asked.append((path, dict(parameters)))
        if path.startswith("label/"):
            return [f"{path.split('/')[1]}.1", "other"]
        found = []
        for number, edge in enumerate(("0.1", "+Inf")):
            labels = {"__name__": "x", "le": edge, "instance": "yard-1", "app": "iris"}
            points = [[at, str(number + at / 1000)] for at in range(1000, 1601, 60)]
            found.append({"metric": labels, "values": points, "value": points[-1]})
        return {"result": found}


def dashboard(panel: dict[str, Any]) -> dict[str, Any]:
    variables = [
        {"name": "app", "query": "label_values(up, app)"},
        {"name": "apps", "query": 'label_values(up{app=~"$app"}, apps)'},
    ]
    moments = {"list": [{"name": "Deployments", "expr": "x > 0"}]}
    return {"panels": [panel], "templating": {"list": variables}, "annotations": moments}


def test_variables_get_the_values_that_there_are_and_may_depend_on_one_another() -> None:
    ask = Answers()
    live = Live(dashboard({}), ask)
    assert ask.asked[1] == ("label/apps/values", {"match[]": r'up{app=~"app\\.1|other"}'})
    assert live.filled('x{a=~"$apps"}[$__rate_interval]') == r'x{a=~"apps\\.1|other"}[1m]'


@pytest.mark.parametrize(
    ("legend", "names"),
    [("{{app}} at {{instance}}", "iris at yard-1"), ("__auto", "le=0.1 instance=yard-1 app=iris")],
)
def test_lines_have_the_legend_of_their_labels(legend: str, names: str) -> None:
    live = Live(dashboard({}), Answers())
    found = next(live.series({"targets": [{"expr": "x", "legendFormat": legend}]}, SPAN))
    assert found[0].legend == names
    assert found[0].points[0] == (1000.0, 1.0)


def test_a_table_asks_for_one_moment() -> None:
    ask = Answers()
    next(Live(dashboard({}), ask).series({"targets": [{"expr": "x", "instant": True}]}, SPAN))
    assert ask.asked[-1] == ("query", {"query": "x", "time": "1600.0"})


def test_what_is_true_for_a_while_is_one_moment() -> None:
    assert Live(dashboard({}), Answers()).annotations(SPAN) == [1000.0]


@pytest.mark.parametrize("name", rendered())
def test_each_dashboard_can_be_drawn(name: str, tmp_path: Path) -> None:
    draw(Live(json.loads(rendered()[name]), Answers()), SPAN, tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.width == 1300
        assert picture.height > 500
