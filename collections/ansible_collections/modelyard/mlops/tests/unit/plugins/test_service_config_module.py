# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""service_config's entry point: what it takes, refuses and returns; systemd only remembers what it was told."""

from __future__ import annotations

import functools
import grp
import json
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.service_config import Request, Systemd
from ansible_collections.modelyard.mlops.plugins.modules import service_config
from ansible_collections.modelyard.mlops.tests.unit.plugins.running import run_module
from ansible_collections.modelyard.mlops.tests.unit.plugins.serving import serve


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration folder with one file; the journals are the test's own."""
    state = str(tmp_path / "state")
    monkeypatch.setattr(service_config, "Request", functools.partial(Request, state_folder=state))
    monkeypatch.setattr(service_config, "UNIT_FOLDER", str(tmp_path / "units"))
    root = tmp_path / "etc"
    root.mkdir()
    (root / "main.yml").write_text("old\n")
    (root / "main.yml").chmod(0o644)
    return root


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What systemctl was told. Its unit runs, and is not enabled before it is told so."""
    told: list[str] = []
    answers = {"LoadState": "loaded", "ActiveState": "active", "NRestarts": "0"}

    def call(_service: Systemd, *command: str) -> subprocess.CompletedProcess[str]:
        verb, code, output = command[1], 0, ""
        if verb == "show":
            output = answers[command[3]]
        elif verb == "is-enabled":
            code = 0 if f"enable {command[2]}" in told else 1
        elif verb in ("enable", "reload", "restart"):
            told.append(f"{verb} {command[2]}")
        return subprocess.CompletedProcess(command, code, output, "")

    monkeypatch.setattr(Systemd, "_call", call)
    return told


@pytest.fixture
def page() -> Iterator[str]:
    """The address of a service that answers `ready`."""
    with serve(lambda _path: (200, b"ready")) as port:
        yield f"http://127.0.0.1:{port}/"


def run(root: Path, **options: Any) -> dict[str, Any]:
    return run_module(service_config.main, {"root": str(root), **options})


def test_files_are_written_with_what_was_asked_for_and_only_once(root: Path) -> None:
    (root / "rules").mkdir()
    (root / "rules" / "stale.yml").write_text("stale\n")
    options = {
        "files": {"main.yml": "new\n", "rules/team.yml": "rule\n"},
        "owned": ["rules/"],
        "owner": pwd.getpwuid(os.geteuid()).pw_name,
        "group": str(os.getegid()),
        "mode": "0640",
        "directory_mode": "0750",
    }
    said = run(root, **options)
    assert said["changed"] is True
    assert {str(root / "main.yml"), str(root / "rules" / "team.yml")} <= set(said["changed_files"])
    assert said["deleted_files"] == [str(root / "rules" / "stale.yml")]
    assert (said["reloaded"], said["applied"]) == (False, "")
    assert (root / "main.yml").read_text() == "new\n"
    assert (root / "main.yml").stat().st_mode & 0o777 == 0o640
    assert (root / "rules").stat().st_mode & 0o777 == 0o750
    again = run(root, **options)
    assert (again["changed"], again["diff"], again["changed_files"], again["deleted_files"]) == (False, [], [], [])


def test_diff_shows_a_file_and_of_a_secret_only_that_it_changes(root: Path) -> None:
    (root / "password").write_text("former-canary")
    said = run(root, files={"main.yml": "new\n"}, secrets={"password": "new-canary"})
    shown = {entry["after_header"]: (entry["before"], entry["after"]) for entry in said["diff"]}
    assert shown[str(root / "main.yml")] == ("old\n", "new\n")
    assert shown[str(root / "password")] == ("", "secret changed\n")
    assert "canary" not in json.dumps(said)
    assert (root / "password").read_text() == "new-canary"
    assert (root / "password").stat().st_mode & 0o777 == 0o600


def test_check_mode_says_what_the_run_would_do_and_changes_nothing(root: Path, told: list[str]) -> None:
    options = {"files": {"main.yml": "new\n"}, "service": "fake", "enabled": True, "action": "restart"}
    said = run(root, **options, _ansible_check_mode=True)
    assert (said["changed"], said["reloaded"], said["applied"], said["enabled"]) == (True, True, "restart", True)
    assert said["changed_files"] == [str(root / "main.yml")]
    assert (root / "main.yml").read_text() == "old\n"
    assert sorted(path.name for path in root.parent.iterdir()) == ["etc"]
    assert told == []


def test_service_is_told_enabled_and_seen_to_work(root: Path, told: list[str], page: str) -> None:
    options = {"files": {"main.yml": "new\n"}, "service": "fake", "enabled": True}
    verify = {"url": page, "contains": "ready", "timeout": 0}
    said = run(root, **options, verify=verify)
    assert (said["changed"], said["applied"], said["enabled"], said["started"]) == (True, "reload", True, False)
    assert told == ["reload fake.service", "enable fake.service"]
    assert run(root, **options, verify=verify)["changed"] is False
    assert len(told) == 2


def test_service_that_does_not_answer_as_it_should_gets_its_files_back(root: Path, told: list[str], page: str) -> None:
    verify = {"url": page, "contains": "something else", "timeout": 0}
    said = run(root, files={"main.yml": "new\n"}, service="fake", verify=verify)
    assert said["failed"]
    assert "does not contain 'something else'" in said["msg"]
    assert (root / "main.yml").read_text() == "old\n"
    assert told == ["reload fake.service", "reload fake.service"]


def test_refused_configuration_changes_nothing(root: Path) -> None:
    said = run(root, files={"main.yml": "new\n"}, validate=["grep", "-q", "old", "{root}/main.yml"])
    assert said["failed"]
    assert "grep refuses the new configuration" in said["msg"]
    assert (root / "main.yml").read_text() == "old\n"


@pytest.mark.usefixtures("told")
def test_units_belong_to_systemds_folder_whatever_the_modes_of_the_files(root: Path) -> None:
    units = {"fake.service.d/modelyard.conf": "[Service]\n"}
    said = run(root, units=units, mode="0600", service="fake", _ansible_check_mode=True)
    path = str(root.parent / "units" / "fake.service.d" / "modelyard.conf")
    assert path in said["changed_files"]
    (attributes,) = [entry["after"] for entry in said["diff"] if entry["after_header"] == f"{path} (attributes)"]
    assert attributes == "type: file\nmode: 0644\nuid: 0\ngid: 0\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": 640}, "mode: 640 is not a mode"),
        ({"mode": "rw"}, "mode: 'rw' is not a mode"),
        ({"secret_mode": "10000"}, "secret_mode: '10000' is not a mode"),
        ({"directory_mode": "0799"}, "directory_mode: '0799' is not a mode"),
        ({"owner": "no-such-user"}, "owner: 'no-such-user' does not exist on this host"),
        ({"group": "no-such-group"}, "group: 'no-such-group' does not exist on this host"),
        ({"files": {"main.yml": {"a": 1}}}, "files: the content of 'main.yml' is a dict, not text"),
        ({"files": {"../main.yml": ""}}, "files: '../main.yml' is not a path inside root"),
        ({"units": {"/fake.service": ""}}, "units: '/fake.service' is not a path inside root"),
        ({"owned": ["."]}, "owned: '.' is not a path inside root"),
        ({"secrets": {"main.yml": "x"}}, "secrets: main.yml is also in files"),
        ({"enabled": True}, "enabled is True but all of the following are missing: service"),
        ({"verify": {"url": "http://127.0.0.1/"}}, "missing parameter(s) required by 'verify': service"),
    ],
)
def test_bad_option_is_named_and_nothing_changes(options: dict[str, Any], words: str, root: Path) -> None:
    said = run(root, **{"files": {"main.yml": "new\n"}, **options})
    assert said["failed"]
    assert words in said["msg"]
    assert (root / "main.yml").read_text() == "old\n"


def test_whole_file_system_is_refused_also_behind_a_link(root: Path) -> None:
    (root / "link").symlink_to("/")
    said = run(root / "link", files={"main.yml": ""}, _ansible_check_mode=True)
    assert said["failed"]
    assert "root: must be a folder of the service" in said["msg"]


def test_check_mode_does_without_an_owner_that_an_earlier_task_would_create(root: Path) -> None:
    options = {"files": {"main.yml": "old\n"}, "owner": "no-such-user", "group": grp.getgrgid(os.getegid()).gr_name}
    said = run(root, **options, _ansible_check_mode=True)
    assert said["changed"] is True
    assert f"uid: not created yet\ngid: {os.getegid()}\n" in said["diff"][0]["after"]


def test_error_of_the_host_fails_the_task(root: Path) -> None:
    said = run(root, files={f"{'x' * 300}.yml": ""})
    assert said["failed"]
    assert "File name too long" in said["msg"]
