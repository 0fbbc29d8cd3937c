# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("house_rules", Path(__file__).parents[1] / "house_rules.py")
assert _SPEC is not None
assert _SPEC.loader is not None
house_rules = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(house_rules)


@pytest.mark.parametrize(
    "line",
    [
        # The ~ is taken out: without it this file would break the rules itself.
        "ignore_~errors: true",
        "on: pull_request_~target",
        "-----BEGIN OPENSSH PRIVATE~ KEY-----",
        "AKIA~ABCDEFGHIJKLMNOP",
        "url = https://files.python~hosted.org/packages/x",
        "--index-url https://py~pi.org/simple",
        '"resolved": "https://registry.npm~js.org/x"',
        "deb http://deb.deb~ian.org/debian bookworm main",
        "cd /work~/main",
        "# checkov~:skip=CKV_AWS_1",
    ],
)
def test_what_no_file_may_hold_is_found(line: str) -> None:
    findings = list(house_rules.check("a.txt", "first\n" + line.replace("~", "") + "\n"))
    assert findings
    assert all(finding.startswith("2: ") for finding in findings)


def test_what_only_looks_alike_is_not_found() -> None:
    text = f"# {house_rules.LICENCE}\nrmtree(x, ignore_errors=True)\n# checkov:skip=CKV_AWS_1:It is a test."
    assert list(house_rules.check("a.py", text)) == []


@pytest.mark.parametrize("path", ["a.py", "b/main.tf", "c.yml", "images/x/Dockerfile", "Makefile"])
def test_a_source_file_names_its_licence(path: str) -> None:
    assert len(list(house_rules.check(path, "x = 1\n"))) == 1
    assert list(house_rules.check(path, f"# {house_rules.LICENCE}\nx = 1\n")) == []


@pytest.mark.parametrize("path", ["x/changelogs/fragments/a.yml", "all/vault.yml", "team.sops.yml"])
def test_what_a_tool_writes_names_no_licence(path: str) -> None:
    assert list(house_rules.check(path, "x: 1\n")) == []


def test_a_script_without_a_suffix_is_a_source_file() -> None:
    assert len(list(house_rules.check("tests/run", "#!/bin/sh\ntrue\n"))) == 1


def test_a_long_yaml_file_is_found() -> None:
    licence = f"# {house_rules.LICENCE}\n"
    assert list(house_rules.check("a.yml", licence + "a: 1\n" * 149)) == []
    assert len(list(house_rules.check("a.yml", licence + "a: 1\n" * 150))) == 1
    assert list(house_rules.check("roles/a/meta/argument_specs.yml", licence + "a: 1\n" * 150)) == []
    assert list(house_rules.check("a.json", "1\n" * 151)) == []
