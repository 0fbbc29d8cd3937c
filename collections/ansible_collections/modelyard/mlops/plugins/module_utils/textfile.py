# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Figures of what happened on a host, in files that node_exporter's textfile collector reads.

A figure must never change how the work that it is about ends. So what goes wrong here is returned, not raised, and the
module warns of it.
"""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass, field

FOLDER = "/var/lib/modelyard/textfile"


@dataclass
class Metric:
    """One metric with its samples: labels and value."""

    name: str
    type: str
    help: str
    samples: list[tuple[dict[str, str], float]] = field(default_factory=list)


def render(metrics: t.Iterable[Metric]) -> str:
    """Metrics in the text format of Prometheus; those without a sample are left out."""
    lines = []
    for metric in metrics:
        if metric.samples:
            lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.type}"]
        for labels, value in metric.samples:
            shown = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            lines.append(f"{metric.name}{{{shown}}} {float(value)}")
    return "".join(f"{line}\n" for line in lines)


def publish(name: str, text: str, folder: str = "") -> str:
    """Have node_exporter show `text`, if there is a node_exporter; what it shows already is not written again.

    :param folder: where it reads; empty is the usual place.
    :returns: what went wrong, or nothing.
    """
    path = _path(name, folder)
    try:
        if os.path.isdir(os.path.dirname(path)) and _content(path) != text:
            replace_file(path, text)
    except OSError as error:
        return f"the figures in {path} are not up to date: {error}"
    return ""


def withdraw(name: str, folder: str = "") -> str:
    """Take back what `publish` has written; returns what went wrong, or nothing."""
    path = _path(name, folder)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        return f"the figures in {path} are still there: {error}"
    return ""


def replace_file(path: str, text: str, mode: int = 0o644) -> None:
    """Write a file so that a reader sees the former or the new one, whole."""
    new = path + ".new"
    with open(new, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(new, mode)
    os.replace(new, path)


def _path(name: str, folder: str) -> str:
    return os.path.join(folder or FOLDER, f"{name}.prom")


def _content(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
