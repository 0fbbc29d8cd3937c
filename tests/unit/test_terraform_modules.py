# SPDX-License-Identifier: Apache-2.0
"""The Terraform tree itself: `terraform test` on a mocked AWS, and the state's lock on the emulated one."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import pytest

from delivery import bucket, terraform, terraform_program
from delivery.errors import DeliveryError
from delivery.run import Run
from rehearsal import cloud

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "terraform/bootstrap/.terraform.lock.hcl"


def root(source: Path, work: Path, environment: dict[str, str], bucket: str = "none") -> terraform.Root:
    return terraform.Root(
        run=Run(work / "log"),
        binary=terraform_program.find(Path(sys.prefix)),
        source=source,
        work=work,
        environment=environment,
        bucket=bucket,
        lock_timeout="1s",
    )


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    # A module attaches one of AWS' own policies.
    monkeypatch.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    yield cloud.environment(cloud.start(tmp_path))
    cloud.stop(tmp_path)


def test_modules_on_a_mocked_aws(tmp_path: Path) -> None:
    # Terraform writes beside its tests: it gets a copy of the tree.
    shutil.copytree(ROOT / "terraform", tmp_path / "terraform")
    tests = tmp_path / "tests/unit/terraform"
    shutil.copytree(ROOT / "tests/unit/terraform", tests)
    shutil.copy(LOCK, tests)
    module = root(tests, tmp_path / "work", {"AWS_REGION": "eu-central-1"})
    module.call("init", "-input=false", "-no-color", "-backend=false", "-test-directory=.")
    module.call("test", "-no-color", "-test-directory=.")


def test_the_examples_of_the_modules_come_true_and_keep_what_must_not_be_lost(
    tmp_path: Path, aws: dict[str, str]
) -> None:
    shutil.copytree(ROOT / "terraform/modules", tmp_path / "modules")
    names = sorted(path.name for path in (tmp_path / "modules").iterdir())
    # All in one module: each run of Terraform starts its provider anew.
    source = tmp_path / "examples"
    source.mkdir()
    calls = [f'module "{name}" {{\n  source = "../modules/{name}/examples/complete"\n}}\n' for name in names]
    (source / "main.tf").write_text('provider "aws" {}\n' + "".join(calls))
    shutil.copy(LOCK, source)
    module = root(source, tmp_path / "work", aws)
    module.call("init", "-input=false", "-no-color")
    module.call("apply", "-input=false", "-no-color", "-auto-approve")
    module.call("plan", "-input=false", "-no-color", "-detailed-exitcode")
    assert _reach(aws, "closed") == ({80, 443}, ["modelyard-hosts"])
    assert _reach(aws, "staging") == ({22, 80, 443}, [])
    with pytest.raises(DeliveryError) as caught:
        module.call("plan", "-input=false", "-no-color", "-destroy")
    for kept in ("module.state.module.state.aws_s3_bucket.this", "module.host.module.host.aws_ebs_volume.data"):
        assert kept in str(caught.value)


def _reach(aws: dict[str, str], yard: str) -> tuple[set[int], list[str]]:
    """Return a yard's open ports, and its hosts' instance profiles."""
    ec2 = bucket.client("ec2", aws)
    (group,) = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [f"{yard}-hosts"]}])[
        "SecurityGroups"
    ]
    instances = ec2.describe_instances(Filters=[{"Name": "tag:Environment", "Values": [yard]}])["Reservations"]
    assert instances
    profiles = [
        one["IamInstanceProfile"]["Arn"].rpartition("/")[2]
        for reservation in instances
        for one in reservation["Instances"]
        if "IamInstanceProfile" in one
    ]
    return {rule["FromPort"] for rule in group["IpPermissions"]}, profiles


def test_a_lock_that_another_holds_is_respected(tmp_path: Path, aws: dict[str, str]) -> None:
    s3 = boto3.client(
        "s3", endpoint_url=aws["AWS_ENDPOINT_URL"], aws_access_key_id="rehearsal", aws_secret_access_key="rehearsal"
    )
    s3.create_bucket(Bucket="state", CreateBucketConfiguration={"LocationConstraint": cloud.REGION})
    held = {"ID": "11111111-2222-3333-4444-555555555555", "Who": "someone@laptop", "Created": "2026-01-01T00:00:00Z"}
    s3.put_object(Bucket="state", Key="bootstrap/terraform.tfstate.tflock", Body=json.dumps(held))
    module = root(ROOT / "terraform/bootstrap", tmp_path / "work", aws, bucket="state")
    module = replace(module, variables={"bucket": "state"})
    with pytest.raises(DeliveryError, match=r"someone@laptop(?s:.*)force-unlock 11111111-2222-3333-4444-555555555555"):
        module.plan()


def test_roots_take_the_same_provider_and_the_environments_differ_in_values_only() -> None:
    environments = ROOT / "terraform/environments"
    locks = {path.read_text() for path in (ROOT / "terraform").glob("**/.terraform.lock.hcl")}
    assert locks == {LOCK.read_text()}
    names = [
        [line.split("=")[0].split() for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
        for path in sorted(environments.glob("*/main.tf"))
    ]
    assert len(names) == 2
    assert names[0] == names[1]
