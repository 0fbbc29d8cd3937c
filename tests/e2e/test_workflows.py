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


UNIT = "/etc/systemd/system/prometheus-node-exporter.service"


@pytest.fixture(scope="module")
def github() -> Iterator[GitHub]:
    with serve() as one:
        yield one


def test_drift_is_named_in_an_issue_and_the_next_delivery_repairs_it(
    yard: E2EYard, github: GitHub, tmp_path: Path
) -> None:
    ec2 = yard.ec2()
    group = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [f"{yard.name}-hosts"]}])
    group_id = group["SecurityGroups"][0]["GroupId"]
    open_door = [{"IpProtocol": "tcp", "FromPort": 9090, "ToPort": 9090, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=open_door)
    yard.ssh(f"echo '# by hand' >> {UNIT}; docker rm --force modelyard-mlflow")

    job = act.run(yard.root, "drift.yml", "workflow_dispatch", tmp_path, github, settings=yard.settings)

    assert job.exit_code != 0
    (issue,) = github.open_issues()
    assert issue["title"] == f"{yard.name} has drifted"
    # Of a file it says that it differs, not what is in it.
    found = {line.rstrip("`") for line in re.findall(r"^- `(.*)", issue["body"], re.MULTILINE)}
    assert {
        "~ update  module.yard.module.network.aws_security_group.hosts",
        "yard-1: modelyard.mlops.node_exporter : Configure the node exporter",
        "yard-1: modelyard.mlops.mlflow : Run the server",
    } <= found
    assert "by hand" not in str(found)

    # A person has read the issue; without a review no delivery touches the cloud.
    inputs = {"plan": issue["body"].partition("with plan `")[2][:16]}
    job = act.run(
        yard.root, "deliver.yml", "workflow_dispatch", tmp_path, github, settings=yard.settings, inputs=inputs
    )
    assert job.exit_code == 0, job.output[-6000:]
    # Neither AWS nor a secret of GitHub is asked for, and nothing has failed.
    assert job.results["Deliver"] == "success"
    assert job.results.keys().isdisjoint(
        {"Take the role in AWS", "Put the keys in their place", "Say what serves instead"}
    )
    assert not [name for name, secret in yard.canaries() if secret in job.output], "a secret is in the job's log"
    assert f"http://{yard.address}/" in job.summary
    assert re.search(r"iris version \d+ serves as release \d+", job.summary)
    assert re.search(r"Seconds: .*terraform \d+.*images \d+.*site \d+", job.summary)
    assert "# by hand" not in yard.ssh(f"cat {UNIT}")
    assert "modelyard-mlflow" in yard.ssh("docker ps")
    (left,) = ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"]
    assert {rule["FromPort"] for rule in left["IpPermissions"]} == {22, 80, 443}


def test_a_rollback_by_hand_brings_the_release_before_back(yard: E2EYard, github: GitHub, tmp_path: Path) -> None:
    before = yard.http("/version").json["release"]
    job = act.run(
        yard.root, "rollback.yml", "workflow_dispatch", tmp_path, github,
        settings=yard.settings, inputs={"app": "iris", "release": ""},
    )  # fmt: skip
    assert job.exit_code == 0, job.output[-6000:]
    assert yard.http("/version").json["release"] != before


def test_a_teardown_wants_the_name_typed(yard: E2EYard, github: GitHub, tmp_path: Path) -> None:
    job = act.run(
        yard.root, "teardown.yml", "workflow_dispatch", tmp_path, github,
        settings=yard.settings, inputs={"environment": "production"},
    )  # fmt: skip
    assert job.exit_code != 0
    assert yard.http("/health").status == 200
