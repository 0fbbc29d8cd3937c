# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""A run of a monitoring role that has nothing to do is short: a task costs a third of a second on each host."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = Path(__file__).resolve().parents[3] / "roles"
MOST = 12


def tasks(role: str) -> list[dict[str, Any]]:
    """The tasks of a role, in the files that its main.yml imports."""
    folder = ROLES / role / "tasks"
    main = yaml.safe_load((folder / "main.yml").read_text())
    files = [entry["ansible.builtin.import_tasks"] for entry in main]
    return [task for file in files for task in yaml.safe_load((folder / file).read_text())]


def conditions(task: dict[str, Any]) -> str:
    when = task.get("when", [])
    return " and ".join(when if isinstance(when, list) else [when])


def executed(role: str, install: str) -> list[dict[str, Any]]:
    """The tasks that are not skipped when all is as it should be."""
    kept = []
    for task in tasks(role):
        choice = re.search(r"_install == '(\w+)'", conditions(task))
        if (choice and choice[1] != install) or "== 401" in conditions(task):
            continue
        kept.append(task)
    return kept


@pytest.mark.parametrize(
    ("role", "install"),
    [
        *(
            (role, install)
            for role in ("node_exporter", "prometheus", "alertmanager")
            for install in ("upstream", "package")
        ),
        *(("grafana", install) for install in ("upstream", "archive", "none")),
    ],
)
def test_a_run_without_changes_takes_few_tasks(role: str, install: str) -> None:
    found = executed(role, install)
    assert not any("loop" in task or "until" in task or "block" in task for task in found)
    # The check of the role's arguments is a task as well.
    assert 1 + len(found) <= MOST
