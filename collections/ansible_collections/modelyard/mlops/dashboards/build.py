# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""From builders to the JSON files that Grafana provisions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from . import deliveries, hosts, ingress, model, service

FOLDER = Path(__file__).resolve().parents[1] / "roles" / "grafana" / "files" / "dashboards"
DASHBOARDS = (service, model, deliveries, ingress, hosts)


def rendered() -> dict[str, str]:
    """File name and content of each dashboard; the name is the dashboard's uid."""
    texts = {}
    for module in DASHBOARDS:
        dashboard = module.build().build()
        for number, panel in enumerate(dashboard.panels or [], start=1):
            panel.id_val = number
        texts[f"{dashboard.uid}.json"] = JSONEncoder(sort_keys=True, indent=2).encode(dashboard) + "\n"
    return texts


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each panel of a rendered dashboard, those inside of rows too."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def queries(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each query of a rendered dashboard as title and PromQL, its variables filled in with what matches all."""
    filled_in = {f"${variable['name']}": ".*" for variable in dashboard.get("templating", {}).get("list", [])}
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            expression = target["expr"]
            for variable, value in filled_in.items():
                expression = expression.replace(variable, value)
            yield panel["title"], expression
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
