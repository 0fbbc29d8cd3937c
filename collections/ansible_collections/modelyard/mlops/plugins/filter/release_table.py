# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Lay out what the ledgers of several hosts say as a table for people."""

from __future__ import annotations

import typing as t

DOCUMENTATION = r"""
name: release_table
short_description: Lay out what the ledgers of several hosts say as a table
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
description:
  - First what serves on each host, since when, by whom, from which commit, with which model; then how the last
    deployments of each app ended, the latest first. Times are UTC.
options:
  _input:
    description: By host, what M(modelyard.mlops.app_release_info) returned; a host without was not reached.
    type: dict
    required: true
"""

EXAMPLES = r"""
lines: "{{ {'web-1': info_of_web_1} | modelyard.mlops.release_table }}"
# => ["HOST   APP   RELEASE  SINCE                ...", "web-1  shop  4        2026-01-31 08:01:22  ..."]
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

Info = dict[str, t.Any]

_SERVING = ("HOST", "APP", "RELEASE", "SINCE", "BY", "COMMIT", "IMAGE", "MODEL", "SLOT", "")
_HISTORY = ("HOST", "APP", "BEGUN", "RELEASE", "WHAT", "ENDED", "BY", "COMMIT", "WHY")


def release_table(hosts: t.Mapping[str, Info]) -> list[str]:
    """The lines of the table."""
    apps = [(host, app) for host, info in hosts.items() for app in info.get("apps", [])]
    serving = [_serving(host, app) for host, app in apps]
    lines = _align([_SERVING, *serving]) if serving else ["No app has ever been deployed here."]
    attempts = [[host, app["name"], *_attempt(one)] for host, app in apps for one in app["history"]]
    if attempts:
        lines += ["", *_align([_HISTORY, *attempts])]
    silent = [host for host, info in hosts.items() if "apps" not in info]
    return [*lines, "", f"Not reached: {', '.join(silent)}"] if silent else lines


def _serving(host: str, app: Info) -> list[str]:
    notes = [f"rolled back: {', '.join(map(str, app['held']))}"] if app["held"] else []
    if app["unfinished"]:
        journal = app["unfinished"]
        how = f"is at {journal['step']}, by {app['deploying']}" if app["deploying"] else f"died at {journal['step']}"
        notes.append(f"{journal['action']} of release {journal['release']} {how}")
    active = app["active"]
    if not active:
        return [host, app["name"], "none", *[""] * 6, "; ".join(notes)]
    model = " ".join(active["model"].get(part, "") for part in ("name", "version")).strip()
    told = [str(active["number"]), _moment(active["since"]), active["by"], active["commit"], active["image"], model]
    return [host, app["name"], *told, active["slot"], "; ".join(notes)]


def _attempt(attempt: Info) -> list[str]:
    reason = (attempt["reason"].splitlines() or [""])[0]
    if attempt["downtime"]:
        reason = f"nothing served for {attempt['downtime']:g} s" + (f": {reason}" if reason else "")
    told = [_moment(attempt["started"]), str(attempt["release"]), attempt["action"], attempt["outcome"]]
    return [*told, attempt["by"], attempt["commit"], reason]


def _moment(text: str) -> str:
    return text[:19].replace("T", " ")


def _align(rows: t.Sequence[t.Sequence[str]]) -> list[str]:
    """Columns as wide as they must be; an empty cell is a dash, but for the last column."""
    columns = max(map(len, rows))
    full = [[*row, *[""] * (columns - len(row))] for row in rows]
    cells = [[cell or ("-" if number < columns - 1 else "") for number, cell in enumerate(row)] for row in full]
    widths = [max(len(row[number]) for row in cells) for number in range(columns)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"release_table": release_table}
