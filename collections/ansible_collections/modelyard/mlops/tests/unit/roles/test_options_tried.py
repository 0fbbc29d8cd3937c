# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Every option of every role is set by a molecule scenario to more than its default, or UNTRIED says why not.

What an option is set to is looked up in the scenario's files: below its name, and below the names of the variables in
its expression. The scenario `examples` does not count: it only previews. What a role only checks for another one, whose
option it is, is tried there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

COLLECTION = Path(__file__).resolve().parents[3]
SCENARIOS = sorted(file.parent for file in (COLLECTION / "extensions/molecule").glob("*/molecule.yml"))
ROLES = sorted(folder.name for folder in (COLLECTION / "roles").iterdir() if folder.is_dir())

# The README says so, too.
UNTRIED = {
    "app_deploy_break_lock": "the role hands it on; the scenario app_deploy_proof gives it to the module itself",
    "docker_repository_url": "Docker's repository, or a mirror of it, is not reached from where the tests run",
    "grafana_repository_url": "nor is Grafana's",
    "mlflow_postgresql.sslmode": "the scenario's PostgreSQL is reached by its socket, which has no TLS",
    "mlflow_postgresql.ca_path": "likewise",
}

SET_BY_A_TEST = "{{ something }}"


@cache
def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def specs(role: str) -> dict[str, Any]:
    """Return the options of all entry points of a role."""
    entries = load(COLLECTION / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
    return {name: spec for entry in entries.values() for name, spec in entry["options"].items()}


def pairs(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield each key of nested YAML with its value."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield str(key), value
    if isinstance(content, (dict, list)):
        for value in content.values() if isinstance(content, dict) else content:
            yield from pairs(value)


def assignments(program: str) -> Iterator[tuple[str, Any]]:
    """Yield each name that a Python program gives a value, and the value if it is written there."""
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.keyword) and node.arg:
            yield node.arg, literal(node.value)
        if isinstance(node, ast.Assign):
            yield from ((target.id, literal(node.value)) for target in node.targets if isinstance(target, ast.Name))
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant):
                    yield str(key.value), literal(value)


def literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return SET_BY_A_TEST


@cache
def variables(scenario: Path) -> dict[str, list[Any]]:
    """Return by name what the scenario's files set, in YAML or when its tests run a playbook."""
    found: dict[str, list[Any]] = {}
    for file in scenario.glob("*.yml"):
        for key, value in pairs(load(file)):
            found.setdefault(key, []).append(value)
    for file in scenario.glob("tests/*.py"):
        for name, value in assignments(file.read_text()):
            found.setdefault(name, []).append(value)
    return found


def values(scenario: Path, value: Any, seen: frozenset[str] = frozenset()) -> Iterator[Any]:
    """Yield the value, and if it is an expression, what its variables are; of a list, each element likewise."""
    yield value
    if isinstance(value, list):
        for element in value:
            yield from values(scenario, element, seen)
    if isinstance(value, str) and "{{" in value:
        for name in set(re.findall(r"\b[a-z_]+\b", value)) & variables(scenario).keys() - seen:
            for inner in variables(scenario)[name]:
                yield from values(scenario, inner, seen | {name})


def given(role: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the variables of each scenario, one by one; of the role's defaults, those that name a variable of it."""
    defaults = load(COLLECTION / "roles" / role / "defaults/main.yml") or {}
    for scenario in SCENARIOS:
        if scenario.name == "examples":
            continue
        for name, found in variables(scenario).items():
            yield from ((scenario, {name: value}) for value in found)
        for name, default in defaults.items():
            other = re.match(r"\{\{ (\w+) \| default", str(default))
            if other and other[1] in variables(scenario):
                yield scenario, {name: default}


def untried(options: dict[str, Any], found: list[tuple[Path, dict[str, Any]]], path: str = "") -> Iterator[str]:
    """Yield the options that none of these dictionaries, each of a scenario, sets to more than the default."""
    for name, spec in options.items():
        if str(spec["description"]).startswith("See the role "):
            continue
        inside = [(scenario, value) for scenario, one in found if name in one for value in values(scenario, one[name])]
        if all(value == spec.get("default") for _scenario, value in inside):
            yield f"{path}{name}"
        elif "options" in spec:
            deeper = [(scenario, value) for scenario, value in inside if isinstance(value, dict)]
            yield from untried(spec["options"], deeper, f"{path}{name}.")


@pytest.mark.parametrize("role", ROLES)
def test_every_option_was_tried(role: str) -> None:
    excused = {name for name in UNTRIED if name.startswith(f"{role}_")}
    assert set(untried(specs(role), list(given(role)))) == excused
