# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""apt_packages: what has to be installed, held and released."""

from __future__ import annotations

import pytest

from ansible_collections.modelyard.mlops.plugins.modules import apt_packages
from ansible_collections.modelyard.mlops.plugins.modules.apt_packages import Plan, describe, expected, parse, plan
from ansible_collections.modelyard.mlops.tests.unit.plugins.running import Commands, run_module

OUTPUT = """\
docker-ce hold installed 5:27.5.1-1~debian.12~bookworm
containerd.io install installed 1.7.25-1
removed deinstall config-files 1.0
known unknown not-installed \n"""
STATE = {"docker-ce": ("5:27.5.1-1~debian.12~bookworm", True), "containerd.io": ("1.7.25-1", False)}


def test_only_what_is_installed_counts() -> None:
    assert parse(OUTPUT) == STATE


@pytest.mark.parametrize(
    ("wanted", "todo"),
    [
        ({"docker-ce": "5:27.5.1-*", "containerd.io": ""}, Plan([], [], [])),
        ({"docker-ce": "5:28.0.0-*"}, Plan(["docker-ce"], [], [])),
        ({"docker-ce": ""}, Plan([], [], ["docker-ce"])),
        ({"containerd.io": "1.7.25-1"}, Plan([], ["containerd.io"], [])),
        ({"docker.io": "", "jq": "1.6*"}, Plan(["docker.io", "jq"], ["jq"], [])),
    ],
)
def test_plan(wanted: dict[str, str], todo: Plan) -> None:
    assert plan(wanted, STATE) == todo


def test_a_preview_shows_versions_and_holds() -> None:
    wanted = {"docker-ce": "5:28.0.0-*", "docker.io": ""}
    assert describe(wanted, STATE) == "docker-ce 5:27.5.1-1~debian.12~bookworm (held)\ndocker.io not installed\n"
    after = expected(wanted, STATE, plan(wanted, STATE))
    assert describe(wanted, after) == "docker-ce 5:28.0.0-* (held)\ndocker.io newest\n"


def dpkg_says(output: str, **failing: str) -> tuple[list[list[str]], Commands]:
    """The commands that the module runs, and what answers them: those whose program is in `failing` fail."""
    ran: list[list[str]] = []

    def answer(command: list[str]) -> tuple[int, str, str]:
        ran.append(command)
        program = command[0].replace("-", "_")
        if program in failing:
            return 100, "", f"E: {failing[program]}"
        return 0, output if command[0] == "dpkg-query" else "", ""

    return ran, answer


def test_what_is_there_costs_one_look() -> None:
    ran, answer = dpkg_says(OUTPUT)
    said = run_module(apt_packages.main, {"packages": {"docker-ce": "5:27.5.1-*", "containerd.io": ""}}, answer)
    assert said["changed"] is False
    assert [command[0] for command in ran] == ["dpkg-query"]


def test_what_is_missing_is_fetched_installed_and_held() -> None:
    ran, answer = dpkg_says(OUTPUT)
    said = run_module(apt_packages.main, {"packages": {"docker-ce": "", "jq": "1.6*"}}, answer)
    assert (said["installed"], said["held"], said["released"]) == (["jq"], ["jq"], ["docker-ce"])
    assert [command[0] for command in ran] == ["dpkg-query", "apt-get", "apt-get", "apt-mark", "apt-mark", "dpkg-query"]
    assert ran[2][-1] == "jq=1.6*"


def test_a_preview_runs_nothing_but_the_look() -> None:
    ran, answer = dpkg_says(OUTPUT)
    said = run_module(apt_packages.main, {"packages": {"jq": ""}, "_ansible_check_mode": True}, answer)
    assert said["changed"] is True
    assert len(ran) == 1


@pytest.mark.parametrize(
    ("failing", "words"),
    [
        ({"dpkg_query": "database is locked"}, "dpkg-query failed: E: database is locked"),
        ({"apt_get": "no route"}, "apt could not fetch the package lists:\nE: no route"),
        ({"apt_mark": "read-only"}, "apt could not hold jq:\nE: read-only"),
    ],
)
def test_a_failure_says_what_could_not_be_done_and_why(failing: dict[str, str], words: str) -> None:
    said = run_module(apt_packages.main, {"packages": {"jq": "1.6*"}}, dpkg_says(OUTPUT, **failing)[1])
    assert said["failed"]
    assert said["msg"] == words
