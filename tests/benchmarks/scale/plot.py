# SPDX-License-Identifier: Apache-2.0
"""Draws what runs take on more and more hosts, for the collection's documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

COLOURS = ("#3b7dd8", "#e08a1e")
INK, FAINT, EDGE = "#1f2933", "#7b8794", "#d9dee4"


def draw(lines: Mapping[str, Sequence[tuple[int, float, float]]], path: Path) -> None:
    """Write the picture: a line for each kind of run, of points (hosts, seconds, MB)."""
    figure = Figure(figsize=(8, 3.2), dpi=100, layout="constrained")
    titles = ("Seconds of site.yml", "Memory of the controller's processes, MB")
    for axes, title, which in zip(figure.subplots(1, 2), titles, (1, 2), strict=True):
        for colour, (name, points) in zip(COLOURS, lines.items(), strict=True):
            hosts = [point[0] for point in points]
            axes.plot(hosts, [point[which] for point in points], color=colour, marker="o", markersize=4, label=name)
            axes.set_xticks(hosts)
        axes.set_title(title, fontsize=9, loc="left", color=INK)
        axes.set_xlabel("hosts", fontsize=8, color=FAINT)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", color=EDGE, linewidth=0.6)
        axes.tick_params(labelsize=8, colors=FAINT)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(fontsize=8, frameon=False)
    figure.savefig(path)
