# SPDX-License-Identifier: Apache-2.0
"""What galaxy.yml and meta/ say of the collection is so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

COLLECTION = Path(__file__).parents[2]
GALAXY = yaml.safe_load((COLLECTION / "galaxy.yml").read_text())
ROLES = sorted(folder for folder in (COLLECTION / "roles").iterdir() if folder.is_dir())
OURS = f"{GALAXY['namespace']}.{GALAXY['name']}"


def keys(content: Any) -> Iterator[str]:
    """Yield each key of nested YAML: among them the names of modules."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield str(key)
            yield from keys(value)
    elif isinstance(content, list):
        for value in content:
            yield from keys(value)


def test_other_collections_are_those_that_galaxy_yml_declares() -> None:
    files = [*(COLLECTION / "playbooks").glob("*.yml"), *(COLLECTION / "roles").glob("*/tasks/*.yml")]
    names = {key for file in files for key in keys(yaml.safe_load(file.read_text()))}
    used = {name.rpartition(".")[0] for name in names if re.fullmatch(r"[a-z_]+\.[a-z_]+\.[a-z_]+", name)}
    assert used - {"ansible.builtin", OURS} == set(GALAXY["dependencies"])


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_role_is_described_as_its_specification_does(role: Path) -> None:
    told = yaml.safe_load((role / "meta/main.yml").read_text())
    specification = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]
    assert told["galaxy_info"]["description"] == specification["short_description"]
    assert told["galaxy_info"]["license"] == GALAXY["license"][0]
    assert told["dependencies"] == []
    supported = yaml.safe_load((COLLECTION / "meta/runtime.yml").read_text())["requires_ansible"]
    assert supported.startswith(f">={told['galaxy_info']['min_ansible_version']}")


def test_what_an_execution_environment_needs_is_there() -> None:
    environment = yaml.safe_load((COLLECTION / "meta/execution-environment.yml").read_text())
    for file in environment["dependencies"].values():
        assert (COLLECTION / file).is_file()


def test_an_execution_environment_takes_every_ansible_core_that_is_supported() -> None:
    environment = yaml.safe_load((COLLECTION / "execution-environment.yml").read_text())
    supported = yaml.safe_load((COLLECTION / "meta/runtime.yml").read_text())["requires_ansible"]
    assert environment["dependencies"]["ansible_core"]["package_pip"] == f"ansible-core{supported}"


@pytest.mark.parametrize("kind", ["role", "playbook"])
def test_changelog_names_every(kind: str) -> None:
    """antsibull-changelog finds new modules and filters itself, roles and playbooks only in fragments."""
    found = {
        "role": {role.name for role in ROLES},
        "playbook": {file.stem for file in COLLECTION.glob("playbooks/*.yml")},
    }
    released = yaml.safe_load((COLLECTION / "changelogs/changelog.yaml").read_text())["releases"].values()
    fragments = [yaml.safe_load(file.read_text()) for file in COLLECTION.glob("changelogs/fragments/*.yml")]
    told = [entry for release in released for entry in release.get("objects", {}).get(kind, [])]
    told += [entry for fragment in fragments for entry in fragment.get(f"add object.{kind}", [])]
    assert {entry["name"] for entry in told} >= found[kind]
