# SPDX-License-Identifier: Apache-2.0
"""The loop: a push to a real git remote becomes what serves, a revert takes it back, and what is broken stays out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from stand_ins.forge import Forge
from stand_ins.github import GitHub, serve

if TYPE_CHECKING:
    from conftest import E2EYard, Requests

PAGE = "images/iris/src/iris_model/serving/page.html"
ROLES = "collections/ansible_collections/modelyard/mlops/roles"
# What is broken: the file, the text that is replaced, by what, and what the reason for the failure must name.
BROKEN = {
    "health": (
        "images/iris/src/iris_model/serving/app.py", '@app.get("/ready")', '@app.get("/never-ready")', "/ready",
    ),
    "terraform": ("terraform/environments/rehearsal/main.tf", "[var.network_cidr]", '["0.0.0.0/0"]', "0.0.0.0/0"),
    "playbook": ("playbooks/inventory/common.yml", "modelyard_apps:\n", "modelyard_apps: [\n", "common.yml"),
    "rule": (f"{ROLES}/prometheus/files/rules/modelyard-hosts.yml", "expr: ", "expr: )(", "modelyard-hosts.yml"),
    "dashboard": (f"{ROLES}/grafana/files/dashboards/modelyard-hosts.json", "{", "[", "modelyard-hosts.json"),
}  # fmt: skip
# A delivery that changes the code alone, in seconds; the figure is reported, a slow machine fails nothing.
PHASES = re.compile(r"Seconds: +(.*)")


@pytest.fixture(scope="module")
def github() -> Iterator[GitHub]:
    with serve() as one:
        yield one


@pytest.fixture(scope="module")
def forge(yard: E2EYard, github: GitHub, tmp_path_factory: pytest.TempPathFactory) -> Forge:
    return Forge(yard.root, tmp_path_factory.mktemp("forge"), github, yard.name)


def test_a_push_serves_and_a_revert_brings_the_behaviour_back(yard: E2EYard, forge: Forge, requests: Requests) -> None:
    model = yard.http("/version").json["model_version"]
    forge.commit("Greet", PAGE, "</html>", "<!-- greetings -->\n</html>")
    with requests:
        pushed = forge.delivered()
        assert pushed.exit_code == 0, pushed.output[-6000:]
        assert "greetings" in yard.http("/").body
        forge.revert()
        reverted = forge.delivered()
        assert reverted.exit_code == 0, reverted.output[-6000:]
    assert "greetings" not in yard.http("/").body
    assert yard.http("/version").json["model_version"] == model
    assert requests.failures == []
    for job in (pushed, reverted):
        found = PHASES.search(job.summary)
        assert found
        print(f"push to served, seconds: {found[1]}")


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_stays_out_and_says_why(
    yard: E2EYard, forge: Forge, github: GitHub, requests: Requests, what: str
) -> None:
    path, old, new, reason = BROKEN[what]
    before = yard.http("/version").json
    text = (forge.work / path).read_text()
    position = text.index(old)
    (forge.work / path).write_text(text[:position] + new + text[position + len(old) :])
    forge.commit_all(f"Break the {what}")
    with requests:
        job = forge.delivered()
    forge.revert()
    assert job.exit_code != 0
    assert job.results["Say what serves instead"] == "success", "something is left locked"
    (issue,) = github.open_issues()
    assert reason in issue["body"]
    assert yard.http("/version").json == before
    assert requests.failures == []


def test_of_two_pushes_the_last_one_serves_in_the_end(yard: E2EYard, forge: Forge, github: GitHub) -> None:
    forge.commit("Say one", PAGE, "</html>", "<!-- one -->\n</html>")
    first = forge.push()
    forge.commit("Say two", PAGE, "<!-- one -->", "<!-- two -->")
    second = forge.push()
    assert first.result().exit_code == 0, first.result().output[-6000:]
    assert second.result().exit_code == 0, second.result().output[-6000:]
    assert "<!-- two -->" in yard.http("/").body
    # A delivery that went well closes what a failed one has opened.
    assert github.open_issues() == []
