# SPDX-License-Identifier: Apache-2.0
"""Plans as people review them and deliveries compare them; drift as it is told."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from moto import mock_aws

from delivery import drift, plan
from delivery.errors import DeliveryError


def shown(*changes: dict[str, Any], outputs: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"resource_changes": list(changes), "output_changes": outputs or {}}


def change(address: str, *actions: str, mode: str = "managed", after: Any = None) -> dict[str, Any]:
    return {"address": address, "mode": mode, "change": {"actions": list(actions), "before": None, "after": after}}


NEW = change("aws_instance.a", "create", after={"type": "t3.large"})
KEPT = change("aws_vpc.this", "no-op")
READ = change("data.aws_ami.newest", "read", mode="data")


def test_what_changes_nothing_is_no_part_of_a_plan() -> None:
    found = plan.read(shown(NEW, KEPT, READ, outputs={"hosts": {"actions": ["no-op"]}}), "text")
    assert [str(one) for one in found.changes] == ["+ create  aws_instance.a"]


def test_a_digest_says_what_would_be_done_and_nothing_of_the_order() -> None:
    other = change("aws_eip.a", "delete", "create")
    assert plan.read(shown(NEW, other), "").digest == plan.read(shown(other, NEW), "another text").digest
    larger = change("aws_instance.a", "create", after={"type": "t3.xlarge"})
    assert plan.read(shown(NEW), "").digest != plan.read(shown(larger), "").digest


def test_only_the_reviewed_plan_is_applied() -> None:
    found = plan.read(shown(NEW), "")
    found.check(found.digest)
    plan.Plan().check(None)
    with pytest.raises(
        DeliveryError, match=r"no plan was reviewed[^$]*create  aws_instance.a[^$]*with plan " + found.digest
    ):
        found.check(None)
    with pytest.raises(DeliveryError, match=f"the reviewed plan was {plan.Plan().digest}"):
        found.check(plan.Plan().digest)


def test_a_long_plan_fits_into_a_comment_and_shows_no_value_twice() -> None:
    found = plan.read(shown(NEW), "x" * 100_000)
    text = found.markdown("production")
    assert len(text) < 65_536
    assert f"plan `{found.digest}`" in text
    assert "t3.large" not in text


def test_changed_tasks_are_read_from_a_check_run() -> None:
    lines = [
        "TASK [modelyard.mlops.docker : Configure the engine] ****",
        "ok: [a]",
        "changed: [b]",
        "TASK [Write the files] ****",
        "changed: [a] => (item=one)",
        "changed: [a] => (item=two)",
    ]
    assert drift.on_hosts(lines) == (
        "b: modelyard.mlops.docker : Configure the engine",
        "a: Write the files (one)",
        "a: Write the files (two)",
    )


@mock_aws
def test_what_somebody_made_by_hand_is_named() -> None:
    ec2 = boto3.client("ec2", region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    elsewhere = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    ec2.create_security_group(GroupName="not-ours", Description="-", VpcId=elsewhere)
    default = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["SecurityGroups"][0]
    rogue = ec2.create_security_group(GroupName="rogue", Description="-", VpcId=vpc)["GroupId"]
    started = ec2.run_instances(ImageId="ami-12c6146b", MinCount=2, MaxCount=2, SubnetId=subnet)["Instances"]
    ours, theirs = (instance["InstanceId"] for instance in started)
    zone = started[0]["Placement"]["AvailabilityZone"]
    volume = ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
    ec2.attach_volume(InstanceId=ours, VolumeId=volume, Device="/dev/sdf")

    found = drift.strangers(ec2, {vpc, subnet, ours, default["GroupId"]})

    assert len(found) == 3
    assert any(theirs in one for one in found)
    assert f"security group {rogue} (rogue)" in found
    assert f"volume {volume} on {ours} as /dev/sdf" in found
    assert drift.strangers(ec2, set()) == ()


def test_an_issue_says_who_puts_what_right() -> None:
    found = drift.Drift(cloud=("~ update  aws_eip.a",), hosts=("a: Configure the engine",), plan="c0ffee")
    text = found.markdown("production", "c0ffee")
    assert found
    assert "the next delivery repairs it" in text
    assert "start Deliver by hand with plan `c0ffee`" in text
    assert "made by hand" not in text
    assert not drift.Drift()
    assert drift.Drift().markdown("production", "c0ffee") == "production is what commit `c0ffee` says."
