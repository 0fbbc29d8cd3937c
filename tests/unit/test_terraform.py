# SPDX-License-Identifier: Apache-2.0
"""How root modules are run, with a program that stands in for Terraform and notes what it is asked."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from moto import mock_aws

from delivery import terraform, terraform_program
from delivery.errors import DeliveryError
from delivery.run import Run
from delivery.yard import Yard

PROGRAM = """#!/bin/sh
echo "$2 $*" >> "$TF_DATA_DIR.calls"
case "$2" in
  plan) cat "$FAKE/plan.out" 2>/dev/null; exit "$(cat "$FAKE/plan.code")" ;;
  show) case "$3" in
      -json) if [ $# -eq 4 ]; then cat "$FAKE/plan.json"; else cat "$FAKE/state.json"; fi ;;
      *) echo "  # aws_vpc.this will be created" ;;
    esac ;;
  output) echo '{"github_roles": {"value": {"plan": "arn:plan", "apply": "arn:apply"}, "sensitive": false}}' ;;
esac
"""
LOCKED = """Error: Error acquiring the state lock

Lock Info:
  ID:        1111-2222
  Who:       someone@laptop
"""


@pytest.fixture
def root(tmp_path: Path) -> terraform.Root:
    binary = tmp_path / "terraform"
    binary.write_text(PROGRAM)
    binary.chmod(0o755)
    source = tmp_path / "source"
    source.mkdir()
    (source / "main.tf").write_text("# a module\n")
    (source / ".terraform.lock.hcl").write_text('provider "x/hashicorp/aws" {\n  version     = "5.100.0"\n}\n')
    (tmp_path / "plan.code").write_text("0")
    return terraform.Root(
        run=Run(tmp_path / "log"),
        binary=binary,
        source=source,
        work=tmp_path / "work",
        environment={"FAKE": str(tmp_path), "PATH": os.environ["PATH"]},
        bucket="state",
        variables={"name": "test"},
    )


def calls(root: terraform.Root) -> list[str]:
    return [line.split()[0] for line in (root.work / "data.calls").read_text().splitlines()]


def test_a_plan_without_a_difference_is_not_applied(root: terraform.Root) -> None:
    assert root.apply() == terraform.Applied(
        changed=False, outputs={"github_roles": {"plan": "arn:plan", "apply": "arn:apply"}}
    )
    assert calls(root) == ["init", "plan", "output"]


def test_a_difference_is_applied_by_the_plan_that_found_it(root: terraform.Root, tmp_path: Path) -> None:
    (tmp_path / "plan.code").write_text("2")
    assert root.apply().changed
    assert calls(root) == ["init", "plan", "apply", "output"]
    asked = (root.work / "data.calls").read_text()
    assert f"-out={root.work}/plan" in asked
    assert f"{root.work}/plan\n" in asked
    assert not (root.work / "plan").exists()


def test_a_plan_that_is_not_accepted_changes_nothing(root: terraform.Root, tmp_path: Path) -> None:
    (tmp_path / "plan.code").write_text("2")
    change = {"actions": ["create"], "before": None, "after": {"password": "canary-7f3a"}}
    planned = {"resource_changes": [{"address": "aws_vpc.this", "mode": "managed", "change": change}]}
    (tmp_path / "plan.json").write_text(json.dumps(planned))
    with pytest.raises(DeliveryError, match="no plan was reviewed"):
        root.apply(lambda plan: plan.check(None))
    assert "apply" not in calls(root)
    assert not (root.work / "plan").exists()
    # A plan's values are not for the log.
    assert "canary-7f3a" not in (tmp_path / "log").read_text()

    reviewed = root.read().digest
    assert root.apply(lambda plan: plan.check(reviewed)).changed


def test_what_the_state_knows_is_found_in_all_modules(root: terraform.Root, tmp_path: Path) -> None:
    inner = {"resources": [{"mode": "managed", "values": {"id": "i-1"}}, {"mode": "data", "values": {"id": "ami-1"}}]}
    values = {"root_module": {"resources": [{"mode": "managed", "values": {"id": "key"}}], "child_modules": [inner]}}
    (tmp_path / "state.json").write_text(json.dumps({"values": values}))
    assert root.known() == {"key", "i-1"}
    assert replace(root, locks=False)._usual[-1] == "-lock=false"


def test_init_runs_again_only_when_what_it_looks_at_changed(root: terraform.Root) -> None:
    assert root.init()
    assert not root.init()
    (root.source / "main.tf").write_text("# another module\n")
    assert root.init()
    assert replace(root, bucket="another").init()


def test_a_changed_module_of_a_module_is_something_to_initialise(root: terraform.Root, tmp_path: Path) -> None:
    module = tmp_path / "module"
    module.mkdir()
    listed = root.work / "data/modules/modules.json"
    listed.parent.mkdir(parents=True)
    listed.write_text(json.dumps({"Modules": [{"Key": "", "Dir": "."}, {"Key": "yard", "Dir": "../module"}]}))
    assert root.init()
    assert not root.init()
    (module / "main.tf").write_text("# it calls one more module\n")
    assert root.init()


def test_a_run_leaves_the_tree_as_it_is_and_keeps_values_to_its_owner(root: terraform.Root) -> None:
    before = sorted(root.source.iterdir())
    root.plan()
    assert sorted(root.source.iterdir()) == before
    variables = root.work / "variables.tfvars.json"
    assert json.loads(variables.read_text()) == {"name": "test"}
    for path in (variables, root.work / "plan"):
        assert path.stat().st_mode & 0o077 == 0


def test_a_failure_tells_terraforms_reason_and_whose_lock_it_is(root: terraform.Root, tmp_path: Path) -> None:
    (tmp_path / "plan.code").write_text("1")
    (tmp_path / "plan.out").write_text("Refreshing...\n" * 50 + LOCKED)
    with pytest.raises(DeliveryError) as told:
        root.plan()
    message = str(told.value)
    assert "terraform plan of source failed (exit code 1)" in message
    assert "someone@laptop" in message
    assert "force-unlock 1111-2222" in message
    assert "Refreshing" not in message


def test_this_machines_mirror_is_used_unless_the_caller_has_a_configuration(
    root: terraform.Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    provider = tmp_path / f"mirror/registry.example.com/hashicorp/aws/5.100.0/linux_{terraform_program.machine()}"
    provider.mkdir(parents=True)
    root = replace(root, environment={**root.environment, "MODELYARD_TF_MIRROR": str(tmp_path / "mirror")})
    root.init()
    assert f'path = "{tmp_path}/mirror"' in (root.work / "terraformrc").read_text()

    (tmp_path / ".terraformrc").touch()
    root = replace(root, work=tmp_path / "other")
    root.init()
    assert not (root.work / "terraformrc").exists()


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("module.yard.module.network.aws_vpc.this: Creating...", "aws_vpc.this: Creating"),
        (
            'module.yard.module.host["yard-1"].aws_instance.this: Still creating... [10s elapsed]',
            "aws_instance.this: Still creating... [10s elapsed]",
        ),
        (
            "module.network.aws_route.internet: Creation complete after 1s [id=r-1]",
            "aws_route.internet: Creation complete after 1s",
        ),
        ("Terraform has compared your real infrastructure", None),
        ('  + name = "x"', None),
    ],
)
def test_progress(line: str, shown: str | None) -> None:
    assert terraform.progress(line) == shown


@pytest.fixture
def yard(root: terraform.Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    """A rehearsal whose AWS is a mock in this process, and whose Terraform is the stand-in."""
    for name in ("bootstrap", "environments/rehearsal"):
        folder = tmp_path / "terraform_tree" / "terraform" / name
        folder.mkdir(parents=True)
        for path in root.source.iterdir():
            (folder / path.name).write_text(path.read_text())
    monkeypatch.setattr(terraform_program, "find", lambda tools: root.binary)
    monkeypatch.setenv("FAKE", str(tmp_path))
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        yield Yard("rehearsal", "rehearsal", tmp_path / "terraform_tree")


def test_the_state_bucket_is_made_once_and_named_after_the_account(yard: Yard, tmp_path: Path) -> None:
    screen = io.StringIO()
    run = Run(tmp_path / "log", screen)
    (tmp_path / "plan.code").write_text("2")
    assert terraform.bootstrap(run, yard, {})
    assert not terraform.bootstrap(run, yard, {})
    assert terraform.bootstrap(run, yard, {}, repository="acme/yard")
    variables = json.loads((yard.state / "terraform/bootstrap/variables.tfvars.json").read_text())
    assert "for acme/yard, apply: arn:apply" in screen.getvalue()
    assert variables == {"repository": "acme/yard", "bucket": "modelyard-state-123456789012"}


def test_production_is_not_bootstrapped_in_passing(yard: Yard, tmp_path: Path) -> None:
    production = replace(yard, environment="production")
    (production.root / "terraform/environments/production").mkdir()
    with pytest.raises(DeliveryError, match="make bootstrap ENV=production"):
        terraform.deliver(Run(tmp_path / "log"), production, {}, {})
    assert not (yard.state / "terraform").exists()


def test_where_no_bucket_is_there_is_nothing_to_destroy(yard: Yard, tmp_path: Path) -> None:
    terraform.destroy(Run(tmp_path / "log"), yard, {}, {})
    assert not (yard.state / "terraform").exists()
