# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""apt_packages: what has to be installed, held and released."""

from __future__ import annotations

import pytest

from ansible_collections.modelyard.mlops.plugins.modules.apt_packages import Plan, describe, expected, parse, plan

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
