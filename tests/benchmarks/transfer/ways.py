# SPDX-License-Identifier: Apache-2.0
"""The two ways to bring an image to hosts, and what each took."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
import typing as t
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.transfer.hosts import HERE, Host

ROOT = HERE.parents[2]


@dataclass(frozen=True)
class Taken:
    """What one transfer took.

    :ivar seconds: of the whole command, the start of its programs too.
    :ivar wire: bytes that passed the first host's network interface, in both directions.
    :ivar sent: bytes of the image that were sent to the first host, as the tool counts them.
    :ivar memory: the most memory of the command's processes together, in bytes; 0 when it was not measured.
    """

    seconds: float
    wire: int
    sent: int = 0
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
        watch = _Watch(running.pid) if memory else None
        text = running.stdout.read()
    seconds = time.monotonic() - began
    wire = hosts[0].wire() - wire
    if running.returncode:
        raise RuntimeError(f"the role failed: {text[-3000:]}")
    report = _report(json.loads(text[text.index("{") :]), hosts[0].name, image)
    return Taken(seconds, wire, report["bytes_sent"], watch.most if watch else 0)


def _report(output: dict[str, t.Any], host: str, image: str) -> dict[str, t.Any]:
    """What the action said of the image."""
    for task in output["plays"][0]["tasks"]:
        report = task["hosts"].get(host, {}).get("images", {}).get(image)
        if report:
            return dict(report)
    raise RuntimeError(f"the role said nothing of {image} on {host}")


class _Watch:
    """The most memory of a process and its children; what they share counts once.

    `most` is in bytes.
    """

    def __init__(self, pid: int) -> None:
        self.most = 0
        self._pid = pid
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while Path(f"/proc/{self._pid}").exists():
            self.most = max(self.most, sum(map(_memory, _tree(self._pid))))
            time.sleep(0.05)


def _tree(pid: int) -> list[int]:
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return [pid]
    return [pid, *(one for child in children for one in _tree(child))]


def _memory(pid: int) -> int:
    """The proportional set size, in bytes; 0 for a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
