# SPDX-License-Identifier: Apache-2.0
"""Which Terraform a delivery runs, and out of which mirror it takes its provider: what is here, else what is pinned."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from .errors import DeliveryError

MINIMUM = (1, 10)  # the first with a lock in S3 itself
RELEASE = "1.11.4"
SHA256 = {
    "amd64": "1ce994251c00281d6845f0f268637ba50c0005657eb3cf096b92f753b42ef4dc",
    "arm64": "a43d1d0da9b9bab214a8305a39db0e40869572594ccf50c416a7756499143633",
}
DOWNLOAD = "https://releases.hashicorp.com/terraform/{release}/terraform_{release}_linux_{machine}.zip"
MIRROR_VARIABLE = "MODELYARD_TF_MIRROR"


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
    done = subprocess.run([binary, "version", "-json"], capture_output=True, text=True, check=False, env=quiet)
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


def _fetch(target: Path) -> None:
    url = DOWNLOAD.format(release=RELEASE, machine=machine())
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            archive = response.read()
    except (OSError, urllib.error.URLError) as error:
        raise DeliveryError(
            f"no Terraform 1.10 or newer on PATH, and {url} does not answer ({error}): install Terraform"
        ) from error
    digest = hashlib.sha256(archive).hexdigest()
    if digest != SHA256[machine()]:
        raise DeliveryError(f"{url} is not the pinned release: sha256 {digest}, expected {SHA256[machine()]}")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    partial.write_bytes(zipfile.ZipFile(io.BytesIO(archive)).read("terraform"))
    partial.chmod(0o755)
    partial.replace(target)
