# SPDX-License-Identifier: Apache-2.0
"""The collection as another team gets it: built, and installed where nothing of this repository is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from delivery import galaxy
from delivery.errors import DeliveryError
from delivery.run import Run
from delivery.yard import ROOT

COLLECTION = ROOT / galaxy.COLLECTION


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    return galaxy.build(Run(folder / "log"), ROOT, folder)


def ansible(program: str, *arguments: str, home: Path) -> str:
    """Run one of Ansible's programs as somebody would who has the archive and nothing of this repository."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment |= {"ANSIBLE_HOME": str(home / ".ansible"), "ANSIBLE_COLLECTIONS_PATH": str(home / "collections")}
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_archive_installs_and_its_documentation_is_there(archive: Path, tmp_path: Path) -> None:
    ansible("ansible-galaxy", "collection", "install", str(archive), "--no-deps", "-p", "collections", home=tmp_path)
    modules = json.loads(ansible("ansible-doc", "--list", "--json", "modelyard.mlops", home=tmp_path))
    roles = json.loads(ansible("ansible-doc", "-t", "role", "--list", "--json", "modelyard.mlops", home=tmp_path))
    assert {name.rpartition(".")[2] for name in modules} == names("plugins/modules", ".py")
    assert {name.rpartition(".")[2] for name in roles} == {role.name for role in (COLLECTION / "roles").iterdir()}
    told = json.loads(ansible("ansible-doc", "--json", *modules, home=tmp_path))
    for name, entry in told.items():
        assert entry["examples"], f"{name} has no examples"
        assert entry["return"] is not None, f"{name} does not say what it returns"
        assert {"check_mode", "diff_mode"} <= set(entry["doc"]["attributes"]), f"{name} does not say what it supports"


def test_the_archive_holds_what_users_need_and_nothing_of_our_machines(archive: Path) -> None:
    with tarfile.open(archive) as content:
        found = content.getnames()
    assert {"README.md", "LICENSE", "CHANGELOG.rst", "meta/runtime.yml"} <= set(found)
    assert not [name for name in found if "__pycache__" in name or name.endswith(".pyc") or ".cache" in name]
    assert (archive.parent / "SHA256SUMS").read_text().endswith(f"  {archive.name}\n")


def test_the_tests_in_the_archive_need_nothing_that_is_not_in_it(archive: Path) -> None:
    with tarfile.open(archive) as content:
        names = [name for name in content.getnames() if name.startswith("tests/") and name.endswith(".py")]
    assert names
    texts = {name: (COLLECTION / name).read_text() for name in names}
    assert not [name for name, text in texts.items() if "extensions/" in text or "galaxy.yml" in text]


def test_a_release_needs_its_tag_and_its_changelog(tmp_path: Path) -> None:
    for name in ("galaxy.yml", "changelogs/config.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((COLLECTION / name).read_text())
    changelog = tmp_path / "changelogs/changelog.yaml"
    changelog.write_text(yaml.safe_dump({"releases": {}}))
    with pytest.raises(DeliveryError, match=r"the tag is v9\.9\.9, and galaxy\.yml says version 0\.1\.0"):
        galaxy.notes(tmp_path, "0.1.0", "v9.9.9")
    with pytest.raises(DeliveryError, match=r"no entry for 0\.1\.0"):
        galaxy.notes(tmp_path, "0.1.0", "v0.1.0")
    changes = {"release_summary": "The first.", "bugfixes": ["docker - ``daemon.json`` is checked."]}
    changelog.write_text(yaml.safe_dump({"releases": {"0.1.0": {"changes": changes}}}))
    assert (
        galaxy.notes(tmp_path, "0.1.0", "v0.1.0")
        == "The first.\n\n## Bugfixes\n\n- docker - `daemon.json` is checked.\n"
    )


def names(folder: str, suffix: str) -> set[str]:
    return {path.stem for path in (COLLECTION / folder).glob(f"*{suffix}") if path.stem != "__init__"}
