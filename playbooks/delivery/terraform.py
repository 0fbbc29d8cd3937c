# SPDX-License-Identifier: Apache-2.0
"""Terraform as a delivery calls it: a program found or fetched, and root modules run without a trace in the tree."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import urllib.error
import urllib.request
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from .errors import DeliveryError

MINIMUM = (1, 10)  # the first with a lock in S3 itself
RELEASE = "1.11.4"
SHA256 = {
    "amd64": "1ce994251c00281d6845f0f268637ba50c0005657eb3cf096b92f753b42ef4dc",
    "arm64": "a43d1d0da9b9bab214a8305a39db0e40869572594ccf50c416a7756499143633",
}
DOWNLOAD = "https://releases.hashicorp.com/terraform/{release}/terraform_{release}_linux_{machine}.zip"
MIRROR_VARIABLE = "MODELYARD_TF_MIRROR"
BUCKET_VARIABLE = "MODELYARD_STATE_BUCKET"
_LOCK_FILE = ".terraform.lock.hcl"

Log = Callable[[str], None]


def find(tools: Path) -> Path:
    """Return Terraform 1.10 or newer: the one on PATH, else the pinned release, kept under `tools`.

    :raises DeliveryError: none on PATH, and the release cannot be fetched or is not what it should be.
    """
    on_path = shutil.which("terraform")
    if on_path and version(Path(on_path)) >= MINIMUM:
        return Path(on_path)
    kept = tools / f"terraform-{RELEASE}" / "terraform"
    if not kept.exists():
        _fetch(kept)
    return kept


def version(binary: Path) -> tuple[int, ...]:
    """Return major and minor version of the program; (0,) when it does not say."""
    # Not the caller's CLI configuration: a broken one is for `init` to complain about.
    quiet = os.environ | {"CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": ""}
    done = subprocess.run([binary, "version", "-json"], capture_output=True, text=True, env=quiet)
    try:
        major, minor = json.loads(done.stdout)["terraform_version"].split(".")[:2]
        return int(major), int(minor)
    except (ValueError, KeyError):
        return (0,)


def machine() -> str:
    """Return the processor as Terraform's releases name it.

    :raises DeliveryError: there is no release for it.
    """
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    found = platform.machine()
    if found not in names:
        raise DeliveryError(f"no Terraform {RELEASE} is pinned for {found}: put Terraform 1.10 or newer on PATH")
    return names[found]


def mirror(provider_version: str, places: Iterable[Path]) -> Path | None:
    """Return the first of `places` that holds the AWS provider at `provider_version` for this machine."""
    for place in places:
        providers = place.glob(f"*/hashicorp/aws/{provider_version}/linux_{machine()}")
        packed = place.glob(f"*/hashicorp/aws/terraform-provider-aws_{provider_version}_linux_{machine()}.zip")
        if any(providers) or any(packed):
            return place
    return None


def mirror_places(env: Mapping[str, str]) -> list[Path]:
    """Return where a mirror of providers may lie that Terraform does not look into by itself."""
    if env.get(MIRROR_VARIABLE):
        return [Path(env[MIRROR_VARIABLE])]
    return sorted(Path("/opt").glob("*plugins*"))


def state_bucket(env: Mapping[str, str]) -> str:
    """Return the state bucket's name: MODELYARD_STATE_BUCKET, else one made of the AWS account's number.

    :raises DeliveryError: AWS does not tell the account.
    """
    if env.get(BUCKET_VARIABLE):
        return env[BUCKET_VARIABLE]
    try:
        return f"modelyard-state-{_client('sts', env).get_caller_identity()['Account']}"
    except (BotoCoreError, ClientError) as error:
        raise DeliveryError(f"AWS does not say whose account this is; give credentials (AWS_PROFILE, ...): {error}")


@dataclass(frozen=True)
class Applied:
    """What an apply came to."""

    changed: bool
    outputs: dict[str, Any]


@dataclass(frozen=True)
class Root:
    """One root module: where it lies, where its runs keep what is theirs, and what they are given.

    `env` is the whole environment of the program; `log` gets each line that it prints.
    """

    binary: Path
    source: Path
    work: Path
    env: Mapping[str, str]
    log: Log
    bucket: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    lock_timeout: str = "60s"

    def init(self) -> bool:
        """Make the module ready to run; say whether there was something to do."""
        ready = self.work / "initialised"
        if ready.exists() and ready.read_text() == self._fingerprint():
            return False
        self.work.mkdir(parents=True, exist_ok=True, mode=0o700)
        backend = f"-backend-config=bucket={self.bucket}"
        self._run("init", "-input=false", "-no-color", "-reconfigure", "-lockfile=readonly", backend)
        ready.write_text(self._fingerprint())
        return True

    def plan(self) -> bool:
        """Compare the cloud with the module, keep the plan for `apply`; say whether something differs."""
        self.init()
        arguments = ["-detailed-exitcode", f"-out={self._plan}", self._variables_file()]
        # A plan holds values of variables: for its owner only, whatever the umask says.
        self._plan.unlink(missing_ok=True)
        self._plan.touch(mode=0o600)
        return self._run("plan", *self._usual, *arguments, fine=(0, 2)) == 2

    def apply(self) -> Applied:
        """Make the cloud what the module says, in one plan that is applied as it is."""
        changed = self.plan()
        if changed:
            self._run("apply", *self._usual, str(self._plan))
        self._plan.unlink(missing_ok=True)
        return Applied(changed=changed, outputs=self.outputs())

    def destroy(self) -> None:
        """Remove from the cloud everything that the module's state knows."""
        self.init()
        self._run("destroy", *self._usual, "-auto-approve", self._variables_file())

    def outputs(self) -> dict[str, Any]:
        """Return the outputs of the last apply, by name."""
        lines: list[str] = []
        self._run("output", "-json", "-no-color", log=lines.append)
        return {name: output["value"] for name, output in json.loads("\n".join(lines)).items()}

    @property
    def _plan(self) -> Path:
        return self.work / "plan"

    @property
    def _data(self) -> Path:
        return self.work / "data"

    @property
    def _usual(self) -> list[str]:
        return ["-input=false", "-no-color", f"-lock-timeout={self.lock_timeout}"]

    def _variables_file(self) -> str:
        path = self.work / "variables.tfvars.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(dict(self.variables)))
        return f"-var-file={path}"

    def _fingerprint(self) -> str:
        """Return a hash of everything that `init` looks at."""
        digest = hashlib.sha256(f"{self.binary}\0{self.bucket}\0".encode())
        for folder in [self.source, *self._modules()]:
            for path in sorted(folder.glob("*.tf")):
                digest.update(path.read_bytes())
        digest.update((self.source / _LOCK_FILE).read_bytes())
        return digest.hexdigest()

    def _modules(self) -> list[Path]:
        listed = self._data / "modules" / "modules.json"
        if not listed.exists():
            return []
        return sorted(self.source / entry["Dir"] for entry in json.loads(listed.read_text())["Modules"] if entry["Key"])

    def _environment(self) -> dict[str, str]:
        automatic = {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", "TF_DATA_DIR": str(self._data)}
        return {**self.env, **automatic, **self._cli_configuration()}

    def _cli_configuration(self) -> dict[str, str]:
        """Return the variable that names a CLI configuration with this machine's mirror, if it has one.

        A configuration that the caller has is the caller's decision and stays.
        """
        if Path(self.env.get("TF_CLI_CONFIG_FILE") or Path.home() / ".terraformrc").exists():
            return {}
        locked = re.search(r'^\s*version\s*=\s*"([^"]+)"', (self.source / _LOCK_FILE).read_text(), re.MULTILINE)
        found = mirror(locked[1], mirror_places(self.env)) if locked else None
        if not found:
            return {}
        path = self.work / "terraformrc"
        path.write_text(f"provider_installation {{\n  filesystem_mirror {{\n    path = {json.dumps(str(found))}\n  }}\n}}\n")
        return {"TF_CLI_CONFIG_FILE": str(path)}

    def _run(self, verb: str, *arguments: str, fine: tuple[int, ...] = (0,), log: Log | None = None) -> int:
        command = [str(self.binary), f"-chdir={self.source}", verb, *arguments]
        said: deque[str] = deque(maxlen=200)
        with subprocess.Popen(
            command,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            lines = (line.rstrip("\n") for line in process.stdout)
            try:
                for line in lines:
                    said.append(line)
                    (log or self.log)(line)
            except KeyboardInterrupt:
                # The same Ctrl-C reached Terraform, which now saves its state and gives the lock back.
                for line in process.stdout:
                    self.log(line.rstrip("\n"))
                raise
        if process.returncode not in fine:
            raise DeliveryError(_failure(verb, self.source, process.returncode, list(said)))
        return process.returncode


def bootstrap(root: Root) -> bool:
    """Make the state bucket, and what else `terraform/bootstrap` says; say whether something was done.

    The bucket is made empty and then adopted by the module, whose state lies in it from the first moment:
    whatever dies in between, the next call goes on from there.

    :raises DeliveryError: the bucket's name belongs to somebody else, or Terraform fails.
    """
    created = _ensure_bucket(root.bucket, root.env)
    root.init()
    done = root.work / "bootstrapped"
    wanted = root._fingerprint() + json.dumps(dict(root.variables), sort_keys=True)
    if not created and done.exists() and done.read_text() == wanted:
        return False
    applied = root.apply()
    done.write_text(wanted)
    return applied.changed


def _ensure_bucket(name: str, env: Mapping[str, str]) -> bool:
    client = _client("s3", env)
    try:
        client.head_bucket(Bucket=name)
        return False
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status != 404:
            raise DeliveryError(
                f"the state bucket {name} exists and is not this account's to use (HTTP {status}): "
                f"set {BUCKET_VARIABLE} to another name"
            ) from error
    region = client.meta.region_name
    # S3's oldest region is the one that must not be named.
    place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    try:
        client.create_bucket(Bucket=name, **place)
    except ClientError as error:
        raise DeliveryError(f"S3 does not make the state bucket {name} in {region}: {error}") from error
    return True


def _client(service: str, env: Mapping[str, str]) -> Any:
    session = boto3.Session(
        aws_access_key_id=env.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=env.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=env.get("AWS_SESSION_TOKEN"),
        region_name=env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION"),
        profile_name=env.get("AWS_PROFILE"),
    )
    return session.client(service, endpoint_url=env.get("AWS_ENDPOINT_URL"))


def _failure(verb: str, source: Path, code: int, said: list[str]) -> str:
    """Return the message for a failed run: Terraform's own errors, and what to do about a lock."""
    first = next((number for number, line in enumerate(said) if line.startswith("Error:")), max(0, len(said) - 15))
    message = [f"terraform {verb} of {source.name} failed (exit {code}):", *said[first : first + 40]]
    held = next((match[1] for line in said if (match := re.match(r"\s*ID:\s+(\S+)", line))), None)
    if held and "Error acquiring the state lock" in "\n".join(said):
        message.append(
            "Another run holds the lock, or one died with it. Wait for it; only when none is at work: "
            f"terraform -chdir={source} force-unlock {held}"
        )
    return "\n".join(message)


def _fetch(target: Path) -> None:
    url = DOWNLOAD.format(release=RELEASE, machine=machine())
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            archive = response.read()
    except (OSError, urllib.error.URLError) as error:
        raise DeliveryError(
            f"no Terraform 1.10 or newer on PATH, and {url} does not answer ({error}): install Terraform, then run again"
        ) from error
    digest = hashlib.sha256(archive).hexdigest()
    if digest != SHA256[machine()]:
        raise DeliveryError(f"{url} is not the pinned release: sha256 {digest}, expected {SHA256[machine()]}")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    partial.write_bytes(zipfile.ZipFile(io.BytesIO(archive)).read("terraform"))
    partial.chmod(0o755)
    partial.replace(target)
