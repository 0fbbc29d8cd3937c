# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Draws a dashboard with a Prometheus' real data into one picture, for documentation. This is not Grafana."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from .build import panels
from .live import Live, Series, Span
from .units import shown, step

# The page: 24 columns as in Grafana, in inches.
WIDTH, UNIT, DPI = 13.0, 0.33, 100
HEAD, FOOT = 0.62, 0.34
COLOURS = ("#3b7dd8", "#e08a1e", "#2e9d6a", "#c8456b", "#8061c4", "#13a0b5", "#9a7b2f", "#5f6b7a", "#d4671f", "#4c9f3c")
LEVELS = {"green": "#2e9d6a", "yellow": "#d99a00", "red": "#cf3d4f", "blue": "#3b7dd8"}
INK, FAINT, EDGE, PAPER, CARD = "#1f2933", "#7b8794", "#d9dee4", "#f3f5f7", "#ffffff"
# In a legend: letters of the longest name, and the inches that a letter takes.
LONGEST_NAME, CHARACTER = 48, 0.055
# Seconds between two times of day on the axis: the smallest that gives no more than so many.
TICKS, MOST_TICKS = (60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400), 8
NOTE = "drawn by Modelyard's own renderer from real data of a rehearsal; Grafana shows the same panels in its own way"

Draw = Callable[[Axes, Mapping[str, Any], list[list[Series]], Span], None]


def draw(live: Live, span: Span, path: Path) -> None:
    """Write the picture of a dashboard; a palette, so that it is small."""
    mpl.rcParams.update({"font.family": "DejaVu Sans", "font.size": 7.5, "text.color": INK, "axes.labelcolor": FAINT})
    dashboard = live.dashboard
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels(dict(dashboard)))
    height = HEAD + rows * UNIT + FOOT
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor=PAPER)
    _head(figure, dashboard, span, height)
    moments = live.annotations(span)
    for panel in panels(dict(dashboard)):
        grid = panel["gridPos"]
        top = height - HEAD - grid["y"] * UNIT
        left = 0.12 + grid["x"] / 24 * (WIDTH - 0.24)
        width = grid["w"] / 24 * (WIDTH - 0.24)
        if panel["type"] == "row":
            figure.text((left + 0.04) / WIDTH, (top - 0.24) / height, panel["title"], fontsize=9, fontweight="bold")
            continue
        _panel(figure, panel, (left, top - grid["h"] * UNIT, width, grid["h"] * UNIT), live, span, moments)
    buffer = io.BytesIO()
    figure.savefig(buffer)
    with Image.open(buffer) as image:
        image.convert("RGB").quantize(255, dither=Image.Dither.NONE).save(path, optimize=True)


def _head(figure: Figure, dashboard: Mapping[str, Any], span: Span, height: float) -> None:
    begin, end = (datetime.fromtimestamp(at, UTC) for at in (span.start, span.end))
    figure.text(0.16 / WIDTH, 1 - 0.3 / height, dashboard["title"], fontsize=15, fontweight="bold", va="center")
    figure.text(0.16 / WIDTH, 1 - 0.53 / height, dashboard["description"], fontsize=8, color=FAINT, va="center")
    when = f"{begin:%H:%M} to {end:%H:%M} UTC"
    figure.text(1 - 0.16 / WIDTH, 1 - 0.3 / height, when, fontsize=9, color=FAINT, ha="right", va="center")
    figure.text(0.5, 0.16 / height, NOTE, fontsize=7.5, color=FAINT, ha="center", va="center")


def _panel(
    figure: Figure,
    panel: Mapping[str, Any],
    box: tuple[float, float, float, float],
    live: Live,
    span: Span,
    moments: Sequence[float],
) -> None:
    left, bottom, width, height = box
    page = figure.get_figheight()
    gap = 0.05
    card = figure.add_axes(
        ((left + gap) / WIDTH, (bottom + gap) / page, (width - 2 * gap) / WIDTH, (height - 2 * gap) / page)
    )
    card.set_facecolor(CARD)
    card.set_xticks([])
    card.set_yticks([])
    for spine in card.spines.values():
        spine.set_color(EDGE)
    figure.text((left + 0.15) / WIDTH, (bottom + height - 0.22) / page, panel["title"], fontsize=8.5, va="center")
    found = list(live.series(panel, span))
    if not any(found):
        card.text(0.5, 0.45, "nothing", color=FAINT, ha="center", va="center", fontsize=9)
        return
    if panel["type"] in ("stat", "table"):
        _DRAWN[panel["type"]](card, panel, found, span)
        return
    inside = (left + 0.66, bottom + 0.62, width - 0.84, height - 1.04)
    axes = figure.add_axes((inside[0] / WIDTH, inside[1] / page, inside[2] / WIDTH, inside[3] / page))
    _DRAWN[panel["type"]](axes, panel, found, span)
    _time_axis(axes, span)
    for moment in moments:
        axes.axvline(moment, color=LEVELS["blue"], linewidth=0.9, linestyle=(0, (2, 2)), zorder=1)


def _stat(axes: Axes, panel: Mapping[str, Any], found: list[list[Series]], span: Span) -> None:
    """The last value, in the colour of its level, over its own course."""
    points = [point for series in found[0] for point in series.points if not math.isnan(point[1])]
    if not points:
        axes.text(0.5, 0.42, "-", ha="center", va="center", fontsize=20, color=FAINT)
        return
    value = points[-1][1]
    defaults = panel["fieldConfig"]["defaults"]
    colour = _level(defaults["thresholds"]["steps"], value)
    text = shown(value, defaults["unit"])
    axes.text(0.5, 0.46, text, ha="center", va="center", fontsize=20, fontweight="bold", color=colour, zorder=3)
    low, high = min(value for _at, value in points), max(value for _at, value in points)
    if high > low:
        x = [(at - span.start) / (span.end - span.start) for at, _value in points]
        y = [0.02 + 0.2 * (value - low) / (high - low) for _at, value in points]
        axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.7, transform=axes.transAxes)
        axes.fill_between(x, 0, y, color=colour, alpha=0.12, linewidth=0, transform=axes.transAxes)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)


def _timeseries(axes: Axes, panel: Mapping[str, Any], found: list[list[Series]], span: Span) -> None:
    """Lines over time, and the limits that the panel draws."""
    defaults = panel["fieldConfig"]["defaults"]
    lines = [series for of_query in found for series in of_query]
    for series, colour in zip(lines, COLOURS * (len(lines) // len(COLOURS) + 1), strict=False):
        x, y = _with_gaps(series.points, span.step)
        axes.plot(x, y, color=colour, linewidth=1.2, label=series.legend or panel["title"], zorder=3)
        axes.fill_between(x, y, 0, color=colour, alpha=0.06, linewidth=0, zorder=2)
    values = [value for series in lines for _at, value in series.points if math.isfinite(value)]
    top = max(values, default=1.0) or 1.0
    if defaults["unit"] == "bool_yes_no" or (defaults["unit"] == "percentunit" and top > 0.5):
        top = max(top, 1.0)
    if defaults.get("custom", {}).get("thresholdsStyle", {}).get("mode") == "dashed":
        for level in defaults["thresholds"]["steps"]:
            if level["value"] is not None and level["value"] <= top * 1.12:
                axes.axhline(level["value"], color=LEVELS[level["color"]], linewidth=0.9, linestyle="--", zorder=2)
    one = step(top, defaults["unit"])
    axes.set_yticks([at * one for at in MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(0, top * 1.1 / one)])
    axes.set_ylim(0, top * 1.12)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, defaults["unit"])))
    axes.grid(axis="y", color=EDGE, linewidth=0.6, zorder=0)
    _legend(axes)


def _legend(axes: Axes) -> None:
    """Name the lines below the graph, as many as fit into two rows."""
    handles, names = axes.get_legend_handles_labels()
    names = [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in names]
    width = axes.get_window_extent().width / DPI
    columns = max(1, int(width / (0.42 + CHARACTER * max(map(len, names)))))
    if len(names) > 2 * columns:
        kept = 2 * columns - 1
        names = [*names[:kept], f"and {len(names) - kept} more"]
    height = axes.get_window_extent().height / DPI
    axes.legend(
        handles[: len(names)], names, loc="upper left", bbox_to_anchor=(0, -0.26 / height),
        ncols=columns, frameon=False, fontsize=6.8, handlelength=1.2, columnspacing=1.2, handletextpad=0.5,
        borderaxespad=0, borderpad=0, labelspacing=0.3,
    )  # fmt: skip


def _heatmap(axes: Axes, panel: Mapping[str, Any], found: list[list[Series]], span: Span) -> None:
    """How many fell into each bucket, which Prometheus counts together with all that are below it."""
    buckets = sorted(found[0], key=lambda series: float(series.labels["le"].replace("+Inf", "inf")))
    moments = sorted({at for series in buckets for at, _value in series.points})
    table = np.array([[dict(series.points).get(at, 0.0) for at in moments] for series in buckets])
    table = np.diff(table, axis=0, prepend=0.0).clip(min=0)
    used = np.flatnonzero(table.sum(axis=1) > 0)
    low, high = (used[0], used[-1] + 1) if len(used) else (0, len(buckets))
    names = [series.labels["le"] for series in buckets]
    edges = [*moments, moments[-1] + span.step]
    axes.pcolormesh(edges, np.arange(high - low + 1), np.sqrt(table[low:high]), cmap="Oranges", shading="flat")
    unit = panel["options"]["yAxis"].get("unit", "short")
    axes.set_yticks(
        np.arange(high - low) + 0.5,
        ["more" if name == "+Inf" else f"≤ {shown(float(name), unit)}" for name in names[low:high]],
    )


def _table(axes: Axes, panel: Mapping[str, Any], found: list[list[Series]], span: Span) -> None:
    """The labels of an info metric, under the names and in the order that the panel gives them."""
    columns: dict[str, str] = panel["transformations"][1]["options"]["renameByName"]
    order: dict[str, int] = panel["transformations"][1]["options"]["indexByName"]
    names = sorted(columns, key=order.__getitem__)
    rows = [[series.labels.get(name, "") for name in names] for series in found[0]]
    cells = [[columns[name] for name in names], *rows]
    widths = [max(len(row[column][:16]) for row in cells) + 2 for column in range(len(names))]
    starts = np.cumsum([0, *widths]) / sum(widths) * 0.95 + 0.03
    for line, row in enumerate(cells):
        y = 0.78 - line * 0.1
        for start, text in zip(starts, row, strict=False):
            axes.text(start, y, text[:16], va="center", color=FAINT if line == 0 else INK, fontsize=8)
        axes.axhline(y - 0.05, xmin=0.025, xmax=0.975, color=EDGE, linewidth=0.6)
    axes.set_ylim(0, 1)
    axes.set_xlim(0, 1)


_DRAWN: dict[str, Draw] = {"stat": _stat, "timeseries": _timeseries, "heatmap": _heatmap, "table": _table}


def _time_axis(axes: Axes, span: Span) -> None:
    axes.set_xlim(span.start, span.end)
    distance = next(step for step in TICKS if (span.end - span.start) / step <= MOST_TICKS)
    ticks = np.arange(math.ceil(span.start / distance) * distance, span.end, distance)
    axes.set_xticks(ticks, [f"{datetime.fromtimestamp(at, UTC):%H:%M}" for at in ticks])
    axes.tick_params(colors=FAINT, labelsize=7, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(EDGE)


def _with_gaps(points: Sequence[tuple[float, float]], step: float) -> tuple[list[float], list[float]]:
    """Return the points' moments and values, and no value where a point is missing, so that no line bridges it."""
    x: list[float] = []
    y: list[float] = []
    for number, (at, value) in enumerate(points):
        if number and at - points[number - 1][0] > 1.5 * step:
            x.append(points[number - 1][0] + step)
            y.append(math.nan)
        x.append(at)
        y.append(value)
    return x, y


def _level(steps: Sequence[Mapping[str, Any]], value: float) -> str:
    reached = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return LEVELS[reached[-1]]
