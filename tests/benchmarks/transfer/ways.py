# SPDX-License-Identifier: Apache-2.0
"""The two ways to bring an image to hosts, and what each took."""

from __future__ import annotations

import json
import os
import subprocess
import time
import typing as t
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.memory import Watch
from benchmarks.transfer.hosts import HERE, Host

ROOT = HERE.parents[2]


@dataclass(frozen=True)
class Taken:
    """What one transfer took.

    :ivar seconds: of the whole command, the start of its programs too.
    :ivar wire: bytes that passed the first host's network interface, in both directions.
    :ivar sent: bytes of the image that were sent to the first host, as the tool counts them.
    :ivar exported: bytes that the controller read from its engine, for all hosts together.
    :ivar memory: the most memory of the command's processes together, in bytes; 0 when it was not measured.
    """

    seconds: float
    wire: int
    sent: int = 0
    exported: int = 0
    memory: int = 0


def pipe(image: str, host: Host) -> Taken:
    """`docker save | zstd | ssh docker load`, and a look at whether the image is there."""
    key = subprocess.check_output(["docker", "image", "inspect", "--format", "{{.Id}}", image], text=True).strip()
    load = " ".join(f"'{word}'" for word in host.ssh("zstd -dq | sudo docker load -q")[1:])
    script = f"set -o pipefail; docker save {image} | zstd -qT0 | ssh {load}"
    wire, began = host.wire(), time.monotonic()
    subprocess.run(["bash", "-c", script], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(host.ssh(f"sudo docker image inspect {key}"), check=True, stdout=subprocess.DEVNULL)
    return Taken(time.monotonic() - began, host.wire() - wire)


def role(image: str, hosts: Sequence[Host], folder: Path, cache: str, memory: bool = False) -> Taken:
    """The role image_transfer, as a playbook that does nothing else; it verifies by itself.

    :param folder: where the hosts' inventory is.
    :param cache: the name of the controller's cache, in `folder`.
    :param memory: whether to watch the memory, which takes time of its own.
    """
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.json",
        "XDG_CACHE_HOME": str(folder / cache),
    }
    limit = ":".join(host.name for host in hosts)
    command = ["ansible-playbook", "-i", str(folder / "hosts.ini"), "-l", limit, "-e", f"image={image}"]
    wire, began = hosts[0].wire(), time.monotonic()
    with subprocess.Popen(
        [*command, str(HERE / "transfer.yml")], env=environment, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout
        watch = Watch(running.pid) if memory else None
        text = running.stdout.read()
    seconds = time.monotonic() - began
    wire = hosts[0].wire() - wire
    if running.returncode:
        raise RuntimeError(f"the role failed: {text[-3000:]}")
    answers = json.loads(text[text.index("{") :])
    reports = [_report(answers, host.name, image) for host in hosts]
    exported = sum(report["bytes_exported"] for report in reports)
    return Taken(seconds, wire, reports[0]["bytes_sent"], exported, watch.most if watch else 0)


def _report(output: dict[str, t.Any], host: str, image: str) -> dict[str, t.Any]:
    """What the action said of the image."""
    for task in output["plays"][0]["tasks"]:
        report = task["hosts"].get(host, {}).get("images", {}).get(image)
        if report:
            return dict(report)
    raise RuntimeError(f"the role said nothing of {image} on {host}")
