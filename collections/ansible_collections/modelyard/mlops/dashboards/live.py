# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""A dashboard's queries with its variables filled in, asked of a Prometheus as Grafana would ask them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Asks Prometheus' API: a path below /api/v1/ and its parameters; returns the answer's `data`, or raises QueryError.
Ask = Callable[[str, Mapping[str, str]], Any]

# What Grafana replaces by itself, at the resolution at which pictures are drawn.
_BUILT_IN = {"$__rate_interval": "1m", "$__interval": "15s", "$__range": "1h"}


class QueryError(Exception):
    """Prometheus refused a query. Its text is Prometheus' own."""


@dataclass(frozen=True)
class Span:
    """A range of time: Unix seconds, and the seconds from one point to the next."""

    start: float
    end: float
    step: float


@dataclass(frozen=True)
class Series:
    """A line: its labels, what the legend calls it, and its points as Unix seconds and value."""

    labels: dict[str, str]
    legend: str
    points: list[tuple[float, float]]


class Live:
    """A rendered dashboard in front of a Prometheus."""

    def __init__(self, dashboard: Mapping[str, Any], ask: Ask) -> None:
        self.dashboard = dashboard
        self._ask = ask
        self.variables = dict(_BUILT_IN)
        # In order: the choices of one may depend on the variables before it.
        for variable in dashboard["templating"]["list"]:
            self.variables[f"${variable['name']}"] = "|".join(map(_quoted, self.choices(variable["query"])))

    def choices(self, query: str) -> list[str]:
        """Return the values that a variable can have, by its query label_values(SERIES, LABEL)."""
        asked = re.fullmatch(r"label_values\((?P<series>.+), (?P<label>\w+)\)", query)
        assert asked, f"{query} is no query for the values of a label"
        values: list[str] = self._ask(f"label/{asked['label']}/values", {"match[]": self.filled(asked["series"])})
        return values

    def filled(self, expression: str) -> str:
        """Return an expression with the variables' values in place of their names."""
        # The long names first: one may be the beginning of another.
        for name in sorted(self.variables, key=len, reverse=True):
            expression = expression.replace(name, self.variables[name])
        return expression

    def series(self, panel: Mapping[str, Any], span: Span) -> Iterator[list[Series]]:
        """Yield what each query of a panel finds: over time, or at the end if it is an instant one."""
        for target in panel.get("targets", []):
            expression = self.filled(target["expr"])
            if target.get("instant"):
                data = self._ask("query", {"query": expression, "time": str(span.end)})
                found = [{**one, "values": [one["value"]]} for one in data["result"]]
            else:
                found = self._range(expression, span)
            yield [_series(one, target.get("legendFormat", "")) for one in found]

    def annotations(self, span: Span) -> list[float]:
        """Return the moments at which the dashboard draws a line through all of its graphs."""
        found = [
            one
            for item in self.dashboard["annotations"]["list"]
            for one in self._range(self.filled(item["expr"]), span)
        ]
        moments = {float(at) for one in found for at, _value in one["values"]}
        # What is true for a minute happened once.
        return [at for at in sorted(moments) if at - span.step not in moments]

    def _range(self, expression: str, span: Span) -> list[dict[str, Any]]:
        parameters = {"start": str(span.start), "end": str(span.end), "step": str(span.step), "query": expression}
        result: list[dict[str, Any]] = self._ask("query_range", parameters)["result"]
        return result


def _quoted(value: str) -> str:
    """A value as a regular expression inside of a string of PromQL."""
    return re.escape(value).replace("\\", "\\\\")


def _series(found: Mapping[str, Any], legend: str) -> Series:
    labels = {name: value for name, value in found["metric"].items() if name != "__name__"}
    if legend in ("", "__auto"):
        legend = " ".join(f"{name}={value}" for name, value in labels.items())
    else:
        legend = re.sub(r"\{\{(\w+)\}\}", lambda name: labels.get(name[1], ""), legend).strip()
    return Series(labels, legend, [(float(at), float(value)) for at, value in found["values"]])
