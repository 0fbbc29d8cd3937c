# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The specs are the truth: as complete as the defaults and the tasks, and a wrong value is refused by its name."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

ROLES = Path(__file__).resolve().parents[3] / "roles"
NAMES = sorted(role.name for role in ROLES.iterdir() if role.is_dir())

# A value that cannot be taken for the type, and one that can. Ansible takes everything for a `str`: only choices
# make one wrong.
WRONG: dict[str, Any] = {"int": "many", "float": "much", "bool": "perhaps", "list": {"a": 1}, "dict": "no pair"}
RIGHT: dict[str, Any] = {"int": 1, "float": 0.5, "bool": True, "list": [], "dict": {}, "str": "x", "path": "/x"}


# Of the servers themselves, which their roles read to see what became of a reload.
METRICS = {f"{server}_config_last_reload_success_timestamp_seconds" for server in ("alertmanager", "prometheus")}


@cache
def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.exists() else None


def options(role: str) -> dict[str, Any]:
    """Return the options of all entry points; what two of them have, they have alike."""
    entries = load(ROLES / role / "meta/argument_specs.yml")["argument_specs"].values()
    return {name: spec for entry in entries for name, spec in entry["options"].items()}


def every_option(specs: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield the path and the spec of each option, nested ones after their parents."""
    for name, spec in specs.items():
        yield (*path, name), spec
        yield from every_option(spec.get("options", {}), (*path, name))


def right(spec: dict[str, Any]) -> Any:
    """Return a value that the spec takes, with what it requires inside."""
    if "choices" in spec:
        value = spec["choices"][0]
        return [value] if spec["type"] == "list" else value
    if "options" in spec:
        inside = {name: right(inner) for name, inner in spec["options"].items() if inner.get("required")}
        return [inside] if spec["type"] == "list" else inside
    return RIGHT[spec["type"]]


def given(specs: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return what is required of `specs`, and `value` at `path`."""
    values = {name: right(spec) for name, spec in specs.items() if spec.get("required")}
    name, *rest = path
    if rest:
        inside = given(specs[name]["options"], tuple(rest), value)
        value = [inside] if specs[name]["type"] == "list" else inside
    return values | {name: value}


def errors(role: str, values: dict[str, Any]) -> str:
    """Return what Ansible says of the values; a default that is an expression is one by then."""
    expressions = {name for name, spec in options(role).items() if "{{" in str(spec.get("default"))}
    values = {name: right(options(role)[name]) for name in expressions} | values
    return "\n".join(ArgumentSpecValidator(options(role)).validate(values).error_messages)


def cases(wanted: str) -> list[Any]:
    """Return (role, path) of each option of which there is such a case to try."""
    found = []
    for role in NAMES:
        for path, spec in every_option(options(role)):
            fits = {
                "type": spec["type"] in WRONG or "choices" in spec,
                "element": spec.get("elements") in WRONG,
                "required": spec.get("required", False),
                "unknown": "options" in spec,
            }
            if fits[wanted]:
                found.append(pytest.param(role, path, id=".".join(path)))
    return found


def named(path: tuple[str, ...], message: str) -> bool:
    """Say whether a message has the role's variable, and each name on the way from there to the option."""
    return all(re.search(rf"\b{name}\b", message) for name in path)


def run_playbook(folder: Path, plays: list[dict[str, Any]], *arguments: str) -> tuple[int, str]:
    """Run plays with --check: what begins after all must not change the machine of the tests."""
    (folder / "try.yml").write_text(json.dumps(plays))
    # Nothing of this repository's ansible.cfg, which make names.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "--check", *arguments, "try.yml"],
        cwd=folder,
        env=outside | {"ANSIBLE_COLLECTIONS_PATH": str(ROLES.parents[3]), "ANSIBLE_HOME": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def spec_at(role: str, path: tuple[str, ...]) -> dict[str, Any]:
    return dict(every_option(options(role)))[path]


@pytest.mark.parametrize("role", NAMES)
def test_options_are_typed_and_told(role: str) -> None:
    for path, spec in every_option(options(role)):
        assert spec.get("type"), f"{'.'.join(path)} has no type"
        assert spec.get("description"), f"{'.'.join(path)} has no description"
        assert spec["type"] != "list" or spec.get("elements"), f"{'.'.join(path)} does not say of what it is a list"
        assert not (spec.get("required") and "default" in spec), f"{'.'.join(path)} is required and has a default"


def as_json(values: dict[str, Any]) -> dict[str, str]:
    return {name: json.dumps(value, sort_keys=True) for name, value in values.items()}


@pytest.mark.parametrize("role", NAMES)
def test_defaults_are_those_of_the_spec(role: str) -> None:
    stated = {name: spec["default"] for name, spec in options(role).items() if "default" in spec}
    defaults = load(ROLES / role / "defaults/main.yml") or {}
    # An expression is no list and no boolean yet, and tools that check a spec say so: the description tells it.
    told = {name for name, default in defaults.items() if name not in stated and "{{" in str(default)}
    assert all(options(role)[name]["type"] != "str" for name in told)
    # As JSON, since 1 == True in Python, and 1 == 1.0.
    assert as_json({name: default for name, default in defaults.items() if name not in told}) == as_json(stated)


@pytest.mark.parametrize("role", NAMES)
def test_variables_are_declared_and_used(role: str) -> None:
    text = "\n".join(
        path.read_text()
        for folder in ("tasks", "templates", "vars", "handlers", "defaults")
        for path in sorted((ROLES / role / folder).rglob("*"))
        if path.is_file()
    )
    # Not what follows a dot or a slash (a module, a file), is called, or is a word of a longer name.
    used = set(re.findall(rf"(?<![\w./-]){role}_[a-z0-9_]+\b(?![(:/-])(?!\.(?:yml|j2|py)\b)", text))
    made = set(re.findall(rf"(?:register|loop_var|index_var): ({role}_\w+)", text))
    made |= set(re.findall(rf"^\s+({role}_\w+):", text, re.MULTILINE)) | set(load(ROLES / role / "vars/main.yml") or {})
    declared = set(options(role))
    assert not used - declared - made - METRICS, "used, and declared nowhere"
    assert not declared - used, "declared, and used nowhere"


@pytest.mark.parametrize(("role", "path"), cases("type"))
def test_a_wrong_value_is_refused_by_name(role: str, path: tuple[str, ...]) -> None:
    spec = spec_at(role, path)
    wrong = WRONG.get(spec["type"], "none of the choices")
    assert named(path, errors(role, given(options(role), path, wrong)))
    assert errors(role, given(options(role), path, right(spec))) == ""


@pytest.mark.parametrize(("role", "path"), cases("element"))
def test_a_wrong_element_is_refused_by_name(role: str, path: tuple[str, ...]) -> None:
    wrong = WRONG[spec_at(role, path)["elements"]]
    assert named(path, errors(role, given(options(role), path, [wrong])))


@pytest.mark.parametrize(("role", "path"), cases("required"))
def test_a_missing_value_is_named(role: str, path: tuple[str, ...]) -> None:
    values = given(options(role), path, None)
    inside: Any = values
    for name in path[:-1]:
        inside = inside[name][0] if isinstance(inside[name], list) else inside[name]
    del inside[path[-1]]
    message = errors(role, values)
    assert f"missing required arguments: {path[-1]}" in message
    assert named(path, message)


@pytest.mark.parametrize(("role", "path"), cases("unknown"))
def test_an_unknown_key_is_named(role: str, path: tuple[str, ...]) -> None:
    spec = spec_at(role, path)
    value = right(spec)
    inside = value[0] if isinstance(value, list) else value
    inside["mistyped"] = 1
    assert named((*path, "mistyped"), errors(role, given(options(role), path, value)))


def test_a_role_does_not_begin_with_a_wrong_value(tmp_path: Path) -> None:
    path = ("ingress_apps", "strategy")
    use = {
        "name": "Use the role",
        "ansible.builtin.include_role": {"name": "modelyard.mlops.ingress"},
        "vars": given(options("ingress"), path, "at_once"),
    }
    play = {"name": "Try", "hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [use]}
    code, output = run_playbook(tmp_path, [play])
    assert code != 0
    assert named(path, output)
    assert re.findall(r"^TASK \[modelyard\.mlops\.ingress : (\w+)", output, re.MULTILINE) == ["Validating"]
    assert re.search(r"^localhost .* changed=0 .* failed=1 ", output, re.MULTILINE)


def test_the_playbook_check_finds_what_is_wrong_before_any_host_is_changed(tmp_path: Path) -> None:
    app = {"name": "shop", "image": "shop:1", "slots": [18081, 18082]}
    hosts: dict[str, Any] = {
        "right": {"modelyard_apps": [app], "docker_install": "package"},
        "mistyped": {"docker_install": "by_hand"},
        "inside": {"modelyard_apps": [app | {"strategy": "at_once"}]},
        "lacking": {},
    }
    inventory = {"all": {"hosts": hosts, "children": {"tracking": {"hosts": {"lacking": {}}}}}}
    (tmp_path / "hosts.yml").write_text(json.dumps(inventory))
    roles = {"all": ["docker", "ingress", "app_deploy"], "tracking": ["mlflow"]}
    check = {
        "name": "Check",
        "ansible.builtin.import_playbook": "modelyard.mlops.check",
        "vars": {"check_roles": roles},
    }
    change = {"name": "Change", "ansible.builtin.debug": {"msg": "too early"}}
    code, output = run_playbook(
        tmp_path, [check, {"name": "Try", "hosts": "all", "gather_facts": False, "tasks": [change]}], "-i", "hosts.yml"
    )
    assert code != 0
    assert "TASK [Change]" not in output
    refused = dict(re.findall(r"^failed: \[(\w+)\] .*\"argument_errors\": (\[.*?\])", output, re.MULTILINE))
    assert set(refused) == set(hosts) - {"right"}
    assert named(("docker_install",), refused["mistyped"])
    assert named(("app_deploy_apps", "strategy"), refused["inside"])
    assert named(("mlflow_image",), refused["lacking"])


@pytest.mark.parametrize(
    ("values", "messages"),
    [
        (
            {
                "modelyard_apps": [{"name": "shop", "image": "shop:1", "slots": [18081, 18082], "memory": "lots"}],
                "ingress_apps": [{"name": "wine", "slots": [80, 81]}],
            },
            ["modelyard_apps: shop: memory: 'lots' is no", "ingress_apps: wine: slots: [80, 81] must be two different"],
        ),
        (
            {"training_run_jobs": [{"name": "iris", "image": "train"}], "training_run_memory": "512"},
            ["training_run_memory: '512' is less than", "training_run_jobs: iris: image: 'train' does not name an"],
        ),
    ],
)
def test_the_playbook_check_finds_what_only_a_module_would_refuse(
    values: dict[str, Any], messages: list[str], tmp_path: Path
) -> None:
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"right": {}, "wrong": values}}}))
    check = {"name": "Check", "ansible.builtin.import_playbook": "modelyard.mlops.check"}
    change = {"name": "Change", "ansible.builtin.debug": {"msg": "too early"}}
    play = {"name": "Try", "hosts": "all", "gather_facts": False, "tasks": [change]}
    code, output = run_playbook(tmp_path, [check, play], "-i", "hosts.yml")
    assert code != 0
    assert [message for message in messages if message not in " ".join(output.split())] == []
    assert "TASK [Change]" not in output


def test_the_playbook_check_knows_every_role() -> None:
    (play,) = load(ROLES.parent / "playbooks/check.yml")
    assert sorted(play["tasks"][0]["vars"]["all_roles"]) == NAMES


def bare(specs: dict[str, Any]) -> dict[str, Any]:
    """Return options as Ansible sees them, without what is told of them."""
    return {
        name: {key: bare(value) if key == "options" else value for key, value in spec.items() if key != "description"}
        for name, spec in specs.items()
    }


def test_roles_that_read_one_list_of_apps_refuse_the_same() -> None:
    """The ingress is the first of them on a host: what is wrong with an app must not wait for app_deploy."""
    of_ingress = bare(options("ingress")["ingress_apps"]["options"])
    of_deploy = bare(options("app_deploy")["app_deploy_apps"]["options"])
    # The ingress also serves apps that something else than app_deploy runs.
    assert of_deploy["image"].pop("required")
    assert of_ingress == of_deploy
