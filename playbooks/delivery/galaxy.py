# SPDX-License-Identifier: Apache-2.0
"""Builds the collection for a release: the archive, its checksum, and what to say about it."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from . import private
from .errors import DeliveryError
from .run import Run

COLLECTION = Path("collections/ansible_collections/modelyard/mlops")


def build(run: Run, root: Path, dist: Path, tag: str | None = None) -> Path:
    """Build the collection's archive into `dist`, beside SHA256SUMS; return it.

    :param tag: the tag that is released: then the version must be the tag's, and NOTES.md is written as well.
    :raises DeliveryError: the tag is not the version's, or the changelog has no entry for it.
    """
    collection = root / COLLECTION
    version = yaml.safe_load((collection / "galaxy.yml").read_text())["version"]
    dist.mkdir(parents=True, exist_ok=True)
    if tag is not None:
        (dist / "NOTES.md").write_text(notes(collection, version, tag))
    program = Path(sys.executable).with_name("ansible-galaxy")
    run.command([program, "collection", "build", "--force", "--output-path", dist, collection])
    archive = dist / f"modelyard-mlops-{version}.tar.gz"
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (dist / "SHA256SUMS").write_text(f"{digest}  {archive.name}\n")
    return archive


def publish(run: Run, archive: Path, token: str) -> None:
    """Publish an archive on Galaxy.

    :param token: the namespace's API key; it goes by a file of its owner, not by a process list.
    """
    program = Path(sys.executable).with_name("ansible-galaxy")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "token"
        private.write(path, f"token: {token}\n")
        run.command(
            [program, "collection", "publish", archive], env={**os.environ, "ANSIBLE_GALAXY_TOKEN_PATH": str(path)}
        )


def notes(collection: Path, version: str, tag: str) -> str:
    """Return what the changelog says of the version that `tag` releases, as Markdown.

    :raises DeliveryError: the tag is not the version's, or the changelog has no entry for it.
    """
    if tag != f"v{version}":
        raise DeliveryError(f"the tag is {tag}, and galaxy.yml says version {version}: make them agree")
    releases = yaml.safe_load((collection / "changelogs/changelog.yaml").read_text())["releases"]
    if version not in releases:
        raise DeliveryError(
            f"changelogs/changelog.yaml has no entry for {version}: `antsibull-changelog release` in {COLLECTION} "
            "makes one of the fragments"
        )
    config = yaml.safe_load((collection / "changelogs/config.yaml").read_text())
    titles = {config["prelude_section_name"]: "", **dict(config["sections"])}
    return _markdown(releases[version]["changes"], titles)


def _markdown(changes: dict[str, Any], titles: dict[str, str]) -> str:
    parts = []
    for section, title in titles.items():
        said = changes.get(section)
        if said:
            text = said if isinstance(said, str) else "\n".join(f"- {one}" for one in said)
            parts.append(f"## {title}\n\n{text}" if title else text)
    return "\n\n".join(parts).replace("``", "`") + "\n"
