# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""release_options: module, documentation and role say the same of each option."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.modelyard.mlops.plugins.doc_fragments.app import ModuleDocFragment
from ansible_collections.modelyard.mlops.plugins.module_utils.release import ReleaseError
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


def test_secret_that_cannot_be_a_file_is_refused() -> None:
    assert secret_values({"secrets": {"PORT": 1}}) == {"PORT": "1"}
    with pytest.raises(ReleaseError, match=r"'\.\./x' cannot be a file name"):
        secret_values({"secrets": {"../x": "1"}})


def test_longest_run_is_longer_than_each_wait() -> None:
    options = {"gate": {"budget": 600}, "watch": {"seconds": 60.0}, "drain": 30, "grace": 30}
    assert longest_run(options) == 900
