# SPDX-License-Identifier: Apache-2.0
"""Terraform as a delivery calls it: its root modules, run without leaving a trace in the tree."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import bucket, terraform_program
from . import plan as plan_file
from .errors import DeliveryError
from .plan import Plan
from .run import Run
from .yard import Yard

_LOCK_FILE = ".terraform.lock.hcl"
# All else needs one of these, but for the disks with the hosts' data, which Terraform refuses to destroy.
_BELOW_ALL = ("module.yard.module.network.aws_vpc.this", "module.yard.aws_key_pair.first_login")


def deliver(
    run: Run,
    yard: Yard,
    environment: Mapping[str, str],
    variables: Mapping[str, Any],
    accept: Callable[[Plan], None] | None = None,
) -> Applied:
    """Make the yard's cloud what its environment says.

    :param environment: how to reach the cloud, added to this process's own; empty in production.
    :param variables: values for the environment's variables beyond those of its own files.
    :param accept: raises DeliveryError for a plan that must not be applied; without it, every plan may be.
    :raises DeliveryError: the state bucket is missing in production, the plan is not accepted, or Terraform fails.
    """
    root = _environment(run, yard, environment, variables)
    return root.apply(accept)


def look(run: Run, yard: Yard, environment: Mapping[str, str], variables: Mapping[str, Any]) -> tuple[Plan, set[str]]:
    """Return what `deliver` would change, and the IDs of everything that Terraform knows; lock and change nothing.

    :raises DeliveryError: as `deliver`.
    """
    root = replace(_environment(run, yard, environment, variables), locks=False)
    try:
        plan = root.read() if root.plan() else Plan()
        return plan, root.known()
    finally:
        root.forget_plan()


def _environment(run: Run, yard: Yard, environment: Mapping[str, str], variables: Mapping[str, Any]) -> Root:
    """Return the yard's root module, its state bucket there."""
    if yard.rehearsed:
        bootstrap(run, yard, environment)
    root = _root(run, yard, environment, yard.terraform, variables)
    s3 = bucket.client("s3", root.environment)
    if not bucket.exists(s3, root.bucket):
        raise DeliveryError(
            f"the state bucket {root.bucket} is not there: `make bootstrap ENV={yard.environment}` once"
        )
    if yard.rehearsed:
        bucket.drop_dead_lock(s3, root.bucket, root.source.name)
    return root


def destroy(run: Run, yard: Yard, environment: Mapping[str, str], variables: Mapping[str, Any]) -> None:
    """Remove from the cloud what `deliver` made.

    The disks with the hosts' data stay, for the next `deliver` to attach, and the state bucket, as the memory of them.
    """
    root = _root(run, yard, environment, yard.terraform, variables)
    s3 = bucket.client("s3", root.environment)
    # Without a bucket nothing was ever made.
    if not bucket.exists(s3, root.bucket):
        return
    if yard.rehearsed:
        bucket.drop_dead_lock(s3, root.bucket, root.source.name)
    root.destroy(*_BELOW_ALL)


def bootstrap(run: Run, yard: Yard, environment: Mapping[str, str], repository: str | None = None) -> bool:
    """Make the state bucket, and the roles for the workflows of `repository`; say whether something was done.

    The bucket is made empty and then adopted by `terraform/bootstrap`, whose state lies in it from the first
    moment: whatever dies in between, the next call goes on from there.

    :raises DeliveryError: the bucket's name belongs to somebody else, or Terraform fails.
    """
    root = _root(run, yard, environment, yard.root / "terraform" / "bootstrap", {"repository": repository})
    root = replace(root, variables={**root.variables, "bucket": root.bucket})
    s3 = bucket.client("s3", root.environment)
    new = not bucket.exists(s3, root.bucket)
    if new:
        bucket.make(s3, root.bucket)
    done = root.work / "bootstrapped"
    changed = False
    if new or not done.exists() or done.read_text() != _given(root):
        changed = root.apply().changed
        done.write_text(_given(root))
    if repository:
        for role, arn in root.outputs()["github_roles"].items():
            run.say(f"  role for {repository}, {role}: {arn}")
    return changed


@dataclass(frozen=True)
class Applied:
    """What an apply came to."""

    changed: bool
    outputs: dict[str, Any]


@dataclass(frozen=True)
class Root:
    """A root module, and a folder for all that its runs would else leave beside it.

    :param environment: the whole environment of the program.
    :param bucket: where its state lies.
    """

    run: Run
    binary: Path
    source: Path
    work: Path
    environment: Mapping[str, str]
    bucket: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    lock_timeout: str = "60s"
    locks: bool = True

    def init(self) -> bool:
        """Make the module ready to run; say whether there was something to do."""
        ready = self.work / "initialised"
        if ready.exists() and ready.read_text() == self.fingerprint():
            return False
        backend = f"-backend-config=bucket={self.bucket}"
        self.call("init", "-input=false", "-no-color", "-reconfigure", "-lockfile=readonly", backend)
        ready.write_text(self.fingerprint())
        return True

    def plan(self) -> bool:
        """Compare the cloud with the module, keep the plan for `apply`; say whether something differs."""
        self.init()
        # A plan holds values of variables: for its owner only, whatever the umask says.
        self._plan.unlink(missing_ok=True)
        self._plan.touch(mode=0o600)
        arguments = ["-detailed-exitcode", f"-out={self._plan}", self._variables_file()]
        code, _ = self.call("plan", *self._usual, *arguments, fine=(0, 2))
        return code == 2

    def apply(self, accept: Callable[[Plan], None] | None = None) -> Applied:
        """Make the cloud what the module says, in one plan that is applied as it was accepted."""
        try:
            changed = self.plan()
            if changed and accept:
                accept(self.read())
            if changed:
                self.call("apply", *self._usual, str(self._plan))
        finally:
            self.forget_plan()
        return Applied(changed=changed, outputs=self.outputs())

    def read(self) -> Plan:
        """Return what the kept plan would change."""
        _, text = self.call("show", "-no-color", str(self._plan))
        return plan_file.read(self._show(str(self._plan)), "\n".join(text).strip())

    def known(self) -> set[str]:
        """Return the IDs of all that the state knows."""
        return set(_ids(self._show().get("values", {}).get("root_module", {})))

    def forget_plan(self) -> None:
        """Remove the kept plan: it holds the variables' values."""
        self._plan.unlink(missing_ok=True)

    def destroy(self, *targets: str) -> None:
        """Remove from the cloud the resources at these addresses, and all that needs them."""
        self.init()
        only = [f"-target={target}" for target in targets]
        self.call("destroy", *self._usual, *only, "-auto-approve", self._variables_file())

    def outputs(self) -> dict[str, Any]:
        """Return the outputs of the last apply, by name."""
        _, lines = self.call("output", "-json", "-no-color")
        return {name: output["value"] for name, output in json.loads("\n".join(lines)).items()}

    def fingerprint(self) -> str:
        """Return a hash of everything that `init` looks at."""
        digest = hashlib.sha256(f"{self.binary}\0{self.bucket}\0".encode())
        for folder in [self.source, *self._modules()]:
            for path in sorted(folder.glob("*.tf")):
                digest.update(path.read_bytes())
        digest.update((self.source / _LOCK_FILE).read_bytes())
        return digest.hexdigest()

    def call(self, verb: str, *arguments: str, fine: tuple[int, ...] = (0,)) -> tuple[int, list[str]]:
        """Run one of Terraform's verbs on the module; return its exit code and what it printed.

        :raises DeliveryError: an exit code that is not `fine`, with Terraform's own reason.
        """
        code, lines = self.run.command(
            [self.binary, f"-chdir={self.source}", verb, *arguments],
            env=self._complete_environment(),
            status=progress,
            expect=range(256),
        )
        if code not in fine:
            raise DeliveryError(failure(verb, self.source, code, lines))
        return code, lines

    def _show(self, *arguments: str) -> Any:
        """Return what `terraform show -json` prints. It holds sensitive values, so it is no part of the log."""
        command = [str(self.binary), f"-chdir={self.source}", "show", "-json", *arguments]
        done = subprocess.run(command, env=self._complete_environment(), capture_output=True, text=True)
        if done.returncode:
            raise DeliveryError(failure("show", self.source, done.returncode, done.stderr.splitlines()))
        return json.loads(done.stdout)

    def _complete_environment(self) -> dict[str, str]:
        self.work.mkdir(parents=True, exist_ok=True, mode=0o700)
        automatic = {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", "TF_DATA_DIR": str(self._data)}
        return {**self.environment, **automatic, **self._cli_configuration()}

    @property
    def _plan(self) -> Path:
        return self.work / "plan"

    @property
    def _data(self) -> Path:
        return self.work / "data"

    @property
    def _usual(self) -> list[str]:
        lock = f"-lock-timeout={self.lock_timeout}" if self.locks else "-lock=false"
        return ["-input=false", "-no-color", lock]

    def _variables_file(self) -> str:
        path = self.work / "variables.tfvars.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(dict(self.variables)))
        return f"-var-file={path}"

    def _modules(self) -> list[Path]:
        listed = self._data / "modules" / "modules.json"
        if not listed.exists():
            return []
        return sorted(self.source / entry["Dir"] for entry in json.loads(listed.read_text())["Modules"] if entry["Key"])

    def _cli_configuration(self) -> dict[str, str]:
        """Return the variable that names a CLI configuration with this machine's mirror, if it has one.

        A configuration that the caller has is the caller's decision and stays.
        """
        if Path(self.environment.get("TF_CLI_CONFIG_FILE") or Path.home() / ".terraformrc").exists():
            return {}
        locked = re.search(r'^\s*version\s*=\s*"([^"]+)"', (self.source / _LOCK_FILE).read_text(), re.MULTILINE)
        found = (
            terraform_program.mirror(locked[1], terraform_program.mirror_places(self.environment)) if locked else None
        )
        if not found:
            return {}
        path = self.work / "terraformrc"
        path.write_text(
            f"provider_installation {{\n  filesystem_mirror {{\n    path = {json.dumps(str(found))}\n  }}\n}}\n"
        )
        return {"TF_CLI_CONFIG_FILE": str(path)}


def _ids(module: Mapping[str, Any]) -> Iterator[str]:
    for resource in module.get("resources", []):
        if resource["mode"] == "managed" and "id" in resource["values"]:
            yield resource["values"]["id"]
    for child in module.get("child_modules", []):
        yield from _ids(child)


def progress(line: str) -> str | None:
    """Return the part of a line of Terraform's output that a person who waits wants to see, or None."""
    resource = re.match(r"(?:module\.[^ ]+\.)?(\w+\.[^ :]+): (.*(?:ing|elapsed\]|complete.*?))(?:\.\.\.| \[id|$)", line)
    return f"{resource[1]}: {resource[2]}" if resource else None


def failure(verb: str, source: Path, code: int, lines: list[str]) -> str:
    """Return the message for a failed run: Terraform's own errors, and what to do about a lock."""
    first = next((number for number, line in enumerate(lines) if line.startswith("Error:")), max(0, len(lines) - 15))
    message = [f"terraform {verb} of {source.name} failed (exit code {code}):", *lines[first : first + 40]]
    held = next((match[1] for line in lines if (match := re.match(r"\s*ID:\s+(\S+)", line))), None)
    if held and any("Error acquiring the state lock" in line for line in lines):
        message.append(
            "Another run holds the lock, or one died with it. Wait for it; only when none is at work: "
            f"terraform -chdir={source} force-unlock {held}"
        )
    return "\n".join(message).rstrip()


def _root(run: Run, yard: Yard, environment: Mapping[str, str], source: Path, variables: Mapping[str, Any]) -> Root:
    complete = {**os.environ, **environment}
    return Root(
        run=run,
        binary=terraform_program.find(Path(sys.prefix)),
        source=source,
        work=yard.state / "terraform" / source.name,
        environment=complete,
        bucket=bucket.name(complete),
        variables=variables,
    )


def _given(root: Root) -> str:
    """Return all that decides what an apply of the module comes to, short of what others do in the cloud."""
    return root.fingerprint() + json.dumps(dict(root.variables), sort_keys=True)
