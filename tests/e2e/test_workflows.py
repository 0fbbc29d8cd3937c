# SPDX-License-Identifier: Apache-2.0
"""The workflows as GitHub starts them: the real files under `act`, on the yard instead of production."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from stand_ins import act
from stand_ins.github import GitHub, serve

if TYPE_CHECKING:
    from conftest import E2EYard


@pytest.fixture(scope="module")
def github() -> Iterator[GitHub]:
    with serve() as one:
        yield one


def test_a_push_to_main_delivers_and_changes_nothing_that_is_right(
    yard: E2EYard, github: GitHub, tmp_path: Path
) -> None:
    job = act.run(yard.root, "deliver.yml", "push", tmp_path, github, yard=yard.name)
    assert job.exit_code == 0, job.output[-6000:]
    assert job.results["Deliver"] == "success"
    # Neither AWS nor a secret of GitHub is asked for, and nothing has failed.
    assert job.results.keys().isdisjoint(
        {"Take the role in AWS", "Put the keys in their place", "Say what serves instead"}
    )
    assert set(yard.recap().values()) == {0}
    assert "0 tasks changed" in job.summary
    assert f"http://{yard.address}/" in job.summary
    assert re.search(r"iris version \d+ serves as release \d+", job.summary)
    assert re.search(r"Seconds: .*terraform \d+.*images \d+.*site \d+", job.summary)
    assert github.open_issues() == []


def test_drift_is_named_in_an_issue_and_the_next_delivery_repairs_it(
    yard: E2EYard, github: GitHub, tmp_path: Path
) -> None:
    ec2 = yard.ec2()
    group = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [f"{yard.name}-hosts"]}])
    group_id = group["SecurityGroups"][0]["GroupId"]
    open_door = [{"IpProtocol": "tcp", "FromPort": 9090, "ToPort": 9090, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=open_door)
    yard.ssh("echo '# by hand' >> /etc/modelyard/prometheus/prometheus.yml; docker rm --force modelyard-mlflow")

    job = act.run(yard.root, "drift.yml", "workflow_dispatch", tmp_path, github, yard=yard.name)

    assert job.exit_code != 0
    (issue,) = github.open_issues()
    assert issue["title"] == f"{yard.name} has drifted"
    assert "aws_security_group.hosts" in issue["body"]
    assert "modelyard.mlops.prometheus" in issue["body"]
    assert "modelyard.mlops.mlflow" in issue["body"]
    assert "by hand" not in issue["body"], "an issue names tasks, it quotes no file"

    yard.make("deliver")
    assert "# by hand" not in yard.ssh("cat /etc/modelyard/prometheus/prometheus.yml")
    job = act.run(yard.root, "drift.yml", "schedule", tmp_path, github, yard=yard.name)
    assert job.exit_code == 0, job.output[-6000:]
    assert github.open_issues() == []
    assert "is what commit" in github.comments_on(issue["number"])[-1]


def test_a_pull_request_is_told_what_it_would_change(yard: E2EYard, github: GitHub, tmp_path: Path) -> None:
    repository = {"full_name": "owner/name"}
    details = {"pull_request": {"number": 7, "head": {"repo": repository}}, "repository": repository}
    options = {"yard": yard.name, "details": details, "job": "plan"}
    for _ in range(2):
        job = act.run(yard.root, "ci.yml", "pull_request", tmp_path, github, **options)  # type: ignore[arg-type]
        assert job.exit_code == 0, job.output[-6000:]
    (comment,) = github.comments_on(7)
    assert "Nothing would change in the cloud" in comment


def test_a_rollback_by_hand_brings_the_release_before_back(yard: E2EYard, github: GitHub, tmp_path: Path) -> None:
    before = yard.http("/version").json["release"]
    job = act.run(
        yard.root, "rollback.yml", "workflow_dispatch", tmp_path, github,
        yard=yard.name, inputs={"app": "iris", "release": ""},
    )  # fmt: skip
    assert job.exit_code == 0, job.output[-6000:]
    assert yard.http("/version").json["release"] != before


def test_a_teardown_wants_the_name_typed(yard: E2EYard, github: GitHub, tmp_path: Path) -> None:
    job = act.run(
        yard.root, "teardown.yml", "workflow_dispatch", tmp_path, github,
        yard=yard.name, inputs={"environment": "production"},
    )  # fmt: skip
    assert job.exit_code != 0
    assert yard.http("/health").status == 200
