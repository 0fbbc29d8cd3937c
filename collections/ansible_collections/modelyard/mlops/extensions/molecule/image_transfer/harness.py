# SPDX-License-Identifier: Apache-2.0
"""What the tests of this scenario share: runs of the action, and images of the controller's engine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import typing as t
from collections.abc import Mapping, Sequence
from pathlib import Path

from testinfra.host import Host

from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import INVENTORY, report

# As molecule.yml has it.
IMAGES = f"molecule-images-{hashlib.sha1(os.environ['MOLECULE_EPHEMERAL_DIRECTORY'].encode()).hexdigest()[:8]}/app"
FIRST = f"{IMAGES}:one"
STAGING = "/var/lib/modelyard/images/staging"


def run(
    folder: Path, hosts: str, images: Sequence[str | Mapping[str, str]], check: bool = False, **options: t.Any
) -> dict[str, t.Any]:
    """The action's result by host.

    :param images: as the action takes them, or only their names.
    :param options: further ones of the action; no image is one too many unless they say so.
    """
    wanted = [{"name": image} if isinstance(image, str) else image for image in images]
    action = {"modelyard.mlops.image_transfer": {"images": wanted, "keep": 100, **options}}
    play = {"hosts": hosts, "gather_facts": False, "become": True, "tasks": [{"name": "Bring the images", **action}]}
    playbook = folder / "playbook.yml"
    playbook.write_text(json.dumps([play]), encoding="utf-8")
    _code, found = report(str(playbook), *(["--check", "--diff"] if check else []))
    return dict(found["plays"][0]["tasks"][0]["hosts"])


def upload(host: str, file: Path, destination: str) -> None:
    """Put a file onto a host, as the user who logs in."""
    command = ["ansible", host, "-i", INVENTORY, "-m", "ansible.builtin.copy"]
    where = f"src={file} dest={destination} mode=0600"
    subprocess.run([*command, "-a", where], check=True, capture_output=True)


def inspect(host: Host, name: str) -> dict[str, t.Any]:
    """What the host's engine says of an image."""
    with host.sudo():
        found: list[dict[str, t.Any]] = json.loads(host.check_output(f"docker image inspect {name}"))
    return found[0]
