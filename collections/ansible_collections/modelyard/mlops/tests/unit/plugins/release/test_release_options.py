# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""release_options: module, documentation and role say the same of each option."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.modelyard.mlops.plugins.doc_fragments.app import ModuleDocFragment
from ansible_collections.modelyard.mlops.plugins.filter.app_problems import app_problems
from ansible_collections.modelyard.mlops.plugins.module_utils.release_options import (
    app_options,
    longest_run,
    record_options,
    secret_values,
)
from ansible_collections.modelyard.mlops.plugins.modules import app_reconcile, app_release

COLLECTION = Path(app_release.__file__).parents[2]


def shape(options: dict[str, Any], suboptions: str = "options") -> dict[str, Any]:
    """What code acts upon: types, defaults and choices, by dotted names. A group's own default says nothing."""
    found = {}
    for name, option in options.items():
        if suboptions in option:
            found.update({f"{name}.{key}": value for key, value in shape(option[suboptions], suboptions).items()})
        else:
            found[name] = {key: option.get(key) for key in ("type", "elements", "default", "choices")}
    return found


def documented(text: str) -> dict[str, Any]:
    return shape(yaml.safe_load(text).get("options", {}), "suboptions")


def test_fragments_document_what_there_is() -> None:
    assert documented(ModuleDocFragment.DOCUMENTATION) == shape(app_options())
    assert documented(ModuleDocFragment.RECORD) == shape(record_options())


def test_modules_document_what_they_take() -> None:
    own = documented(app_release.DOCUMENTATION)
    taken = shape(app_release.argument_spec())
    shared = {**shape(app_options()), **shape(record_options())}
    assert {name: value for name, value in taken.items() if name not in shared} == own
    assert set(documented(app_reconcile.DOCUMENTATION)) == {"apps", "allow_empty"}


def test_role_takes_what_the_module_takes() -> None:
    spec = yaml.safe_load((COLLECTION / "roles/app_deploy/meta/argument_specs.yml").read_text())
    role = shape(spec["argument_specs"]["main"]["options"]["app_deploy_apps"]["options"])
    module = shape(app_options())
    module["slots"]["default"] = None  # a role's app cannot be without
    assert {name: role[name] for name in module} == module
    tasks = (COLLECTION / "roles/app_deploy/tasks/releases.yml").read_text()
    for name in {name.partition(".")[0] for name in module}:
        assert f"    {name}: " in tasks, f"the role does not hand {name} on"


GOOD: dict[str, Any] = {"name": "shop", "image": "shop:1", "slots": [18081, 18082]}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "Shop"}, "app_deploy_apps: Shop: name: 'Shop' is no app name: use lower-case letters"),
        ({"image": "shop:latest"}, "app_deploy_apps: shop: image: 'shop:latest' says latest"),
        ({"image": "shop"}, "app_deploy_apps: shop: image: 'shop' does not name an image with its tag"),
        ({"slots": [80, 81]}, "app_deploy_apps: shop: slots: [80, 81] must be two different ports between 1024"),
        ({"memory": "lots"}, "app_deploy_apps: shop: memory: 'lots' is no size: write a number and k, m or g"),
        ({"memory": 512}, "app_deploy_apps: shop: memory: '512' is less than the engine's least, 6m"),
        ({"port": 70000}, "app_deploy_apps: shop: port: 70000 is no port"),
        ({"cpus": -1}, "app_deploy_apps: shop: cpus: -1.0 is less than none"),
        ({"user": "0:0"}, "app_deploy_apps: shop: user: '0:0' is root"),
        ({"secrets": {"../x": "hidden"}}, "app_deploy_apps: shop: secrets: '../x' cannot be a file name"),
        ({"pids": "many", "slots": "high"}, "app_deploy_apps: shop: Elements value for option 'slots'"),
    ],
)
def test_value_that_cannot_be_is_refused_by_its_names(wrong: dict[str, Any], message: str) -> None:
    (problem,) = app_problems([GOOD, {**GOOD, **wrong}])
    assert problem.startswith(message)
    assert "hidden" not in problem


def test_all_that_is_wrong_is_said_with_the_variable_that_has_it() -> None:
    wrong = [{**GOOD, "memory": "lots", "port": 0}, {**GOOD, "name": "wine", "user": "root"}]
    assert [problem.partition(" is")[0] for problem in app_problems(wrong, "modelyard_apps")] == [
        "modelyard_apps: shop: memory: 'lots'",
        "modelyard_apps: shop: port: 0",
        "modelyard_apps: wine: user: 'root'",
    ]


@pytest.mark.parametrize(
    "right",
    [
        # As a template leaves them, and as a specification that was validated does.
        {"slots": ["18081", "18082"], "port": "8080", "cpus": "1.5", "user": 10001},
        {"memory": None, "secrets": None, "image": None},
        {"image": "shop@sha256:" + 64 * "0", "memory": "", "secrets": {"API_TOKEN": 1}, "route": {"path": "/"}},
    ],
)
def test_value_that_the_module_takes_is_right(right: dict[str, Any]) -> None:
    assert app_problems([{**GOOD, **right}]) == []


def test_secrets_are_texts() -> None:
    assert secret_values({"secrets": {"PORT": 1}}) == {"PORT": "1"}


def test_longest_run_is_longer_than_each_wait() -> None:
    options = {"gate": {"budget": 600}, "watch": {"seconds": 60.0}, "drain": 30, "grace": 30}
    assert longest_run(options) == 900
