# SPDX-License-Identifier: Apache-2.0
"""The loop: a push to a real git remote becomes what serves, a revert takes it back, and what is broken stays out."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from stand_ins.forge import Forge
from stand_ins.github import GitHub, serve

if TYPE_CHECKING:
    from conftest import E2EYard, Requests

SERVING = "images/iris/src/iris_model/serving"
PAGE = f"{SERVING}/page.html"
TRAINING = "images/iris/src/iris_model/training.py"
ROLES = "collections/ansible_collections/modelyard/mlops/roles"
VARIABLES = "playbooks/inventory/common.yml"
RULES = f"{ROLES}/prometheus/files/rules/modelyard-hosts.yml"
DASHBOARD = f"{ROLES}/grafana/files/dashboards/modelyard-hosts.json"
PATIENCE = 600.0


@dataclass(frozen=True)
class Breakage:
    """A commit that is broken: in each file the first `old` becomes `new`; `reasons` is what people must be told."""

    edits: dict[str, tuple[str, str]]
    reasons: tuple[str, ...]


BROKEN = {
    "playbook and dashboard": Breakage(
        {"playbooks/site.yml": ("hosts: all", "hosts: [all"), DASHBOARD: ("{", "[")}, ("playbooks/site.yml", DASHBOARD)
    ),
    "terraform": Breakage(
        {"terraform/environments/rehearsal/main.tf": ("[var.network_cidr]", '["0.0.0.0/0"]')}, ("never 0.0.0.0/0",)
    ),
    "health": Breakage(
        {
            f"{SERVING}/app.py": ('@app.get("/ready")', '@app.get("/never-ready")'),
            VARIABLES: ("memory: 512m", "memory: 512m\n    gate: {budget: 10}"),
        },
        ("/ready",),
    ),
    "rule": Breakage(
        {RULES: ("expr: node_memory", "expr: )(node_memory")}, ("modelyard-hosts.yml", "could not parse expression")
    ),
}


@pytest.fixture(scope="module")
def github() -> Iterator[GitHub]:
    with serve() as one:
        yield one


@pytest.fixture(scope="module")
def forge(yard: E2EYard, github: GitHub, tmp_path_factory: pytest.TempPathFactory) -> Forge:
    return Forge(yard.root, tmp_path_factory.mktemp("forge"), github, yard.settings)


def test_two_pushes_are_served_in_order_and_a_revert_takes_both_back(
    yard: E2EYard, forge: Forge, requests: Requests
) -> None:
    page = yard.http("/").body
    with requests:
        forge.edit(PAGE, "</html>", "<!-- one -->\n</html>")
        forge.edit(TRAINING, "from __future__", "# One.\nfrom __future__")
        forge.commit("Say one")
        pushed, first = time.monotonic(), forge.push()
        # Not the champion: with a changed training image a model is trained, and that is at least as good.
        forge.edit(VARIABLES, "alias: champion", 'version: "1"')
        forge.commit("Serve the first model")
        second = forge.push()
        took = until_page_holds(yard, "<!-- one -->") - pushed
        champion = yard.http("/version").json["model_version"]
        assert first.result().exit_code == 0, first.result().output[-6000:]
        assert second.result().exit_code == 0, second.result().output[-6000:]
        assert "<!-- one -->" in yard.http("/").body
        assert yard.http("/version").json["model_version"] == "1" != champion
        forge.revert(2)
        reverted = forge.delivered()
        assert reverted.exit_code == 0, reverted.output[-6000:]
    assert yard.http("/").body == page
    assert yard.http("/version").json["model_version"] == champion
    assert requests.failures == []
    phases = re.search(r"Seconds: +(.*)", first.result().summary)
    assert phases
    print(f"push to first new answer: {took:.0f} s, of which {phases[1]}")


def test_a_pull_request_that_changes_no_image_is_told_so(forge: Forge, github: GitHub) -> None:
    forge.edit("README.md", "# Modelyard", "# Modelyard, once more")
    forge.commit("Say it again")
    job = forge.propose(7, job="preview")
    forge.revert()
    assert job.exit_code == 0, job.output[-6000:]
    plan, preview = github.comments_on(7)
    assert "Nothing would change in the cloud" in plan
    # The new commit's name for the same images, and nothing else.
    assert re.findall(r"^- `(.*)`$", preview, re.MULTILINE) == [
        "yard-1: modelyard.mlops.image_transfer : Bring the images"
    ]


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_stays_out_and_says_why(
    yard: E2EYard, forge: Forge, github: GitHub, requests: Requests, what: str
) -> None:
    before, runs = yard.http("/version").json, yard.run_count()
    for path, (old, new) in BROKEN[what].edits.items():
        forge.edit(path, old, new)
    forge.commit(f"Break the {what}")
    with requests:
        job = forge.delivered()
    forge.revert()
    assert job.exit_code != 0
    assert job.results["Say what serves instead"] == "success", "something is left locked"
    (issue,) = github.open_issues()
    for reason in BROKEN[what].reasons:
        assert reason in issue["body"]
    assert yard.http("/version").json == before
    assert yard.run_count() == runs, "a model was trained for a change that has nothing to do with training"
    assert requests.failures == []


def until_page_holds(yard: E2EYard, text: str) -> float:
    """Wait until the app's page holds a text; return when it first did, by the monotonic clock."""
    deadline = time.monotonic() + PATIENCE
    while text not in yard.http("/").body:
        assert time.monotonic() < deadline, f"the page never held {text}"
        time.sleep(0.2)
    return time.monotonic()


def test_a_lost_host_comes_back_with_its_data_and_more_hosts_are_one_changed_number(
    yard: E2EYard, forge: Forge, github: GitHub
) -> None:
    yard.make("backup")
    # Of a host's models only those stay that a release needs; all of them are MLflow's artifacts.
    kept = "cd /var/lib/modelyard && find backups mlflow/artifacts training -type f | sort | xargs sha256sum"
    files, runs, champion = yard.ssh(kept).splitlines(), yard.run_count(), yard.champion()
    assert {line.split()[1].partition("/")[0] for line in files} == {"backups", "mlflow", "training"}
    lost, _ = yard.instances()["yard-1"]
    yard.ec2().terminate_instances(InstanceIds=[lost])
    forge.edit("terraform/environments/rehearsal/main.tf", "count         = 0", "count         = 2")
    forge.commit("Serve from three hosts")

    planned = forge.propose(8)
    assert planned.exit_code == 0, planned.output[-6000:]
    (comment,) = github.comments_on(8)
    for host in ("app-1", "app-2", "yard-1"):
        assert f'+ create  module.yard.module.host["{host}"].aws_instance.this' in comment
    assert "aws_ebs_volume" not in comment.partition("<details>")[0]

    job = forge.delivered()
    assert job.exit_code == 0, job.output[-6000:]
    hosts = {name: address for name, (_, address) in yard.instances().items()}
    assert hosts.keys() == {"app-1", "app-2", "yard-1"}
    yard.address = hosts["yard-1"]
    assert yard.ssh(kept).splitlines() == files
    assert (yard.run_count(), yard.champion()) == (runs, champion)
    for address in hosts.values():
        assert yard.http("/version", host=address).json["model_version"] == champion
        assert yard.predict(address).json == {"predictions": [0]}
