# SPDX-License-Identifier: Apache-2.0
"""What the tests of faults work with: controllers, their unreliable way to the host, and the host."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

import docker

from ansible_collections.modelyard.mlops.extensions.molecule.image_transfer.build import MIB
from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import AS_JSON, command

HERE = Path(__file__).parent
STAGING = "/var/lib/modelyard/images/staging"
ENGINE_TMP = "/var/lib/docker/tmp"
# What a run may send beside chunks.
SLACK = 2000
# What may be lost with a connection: OpenSSH sends so much of a file before the host says that it has taken it.
IN_FLIGHT = 2 * MIB
# The first connection is the look at the host: the image is known, and nothing is read of it yet. The second sends.
LOOK, SEND = "1", "2"

PLAYBOOK = """
- hosts: all
  gather_facts: false
  become: true
  tasks:
    - name: Bring the images
      modelyard.mlops.image_transfer:
        images: {images}
"""


@dataclass(frozen=True)
class Ended:
    """How a run ended: what the action returned, and what was printed; an empty result where it was killed."""

    result: dict[str, t.Any]
    text: str

    @property
    def well(self) -> bool:
        """Whether the action succeeded."""
        return bool(self.result) and not self.result.get("failed") and not self.result.get("unreachable")

    @property
    def reason(self) -> str:
        """Why it failed."""
        return str(self.result.get("msg") or self.text[-3000:])

    def image(self, name: str) -> dict[str, t.Any]:
        """What it says of an image."""
        assert self.well, self.reason
        return dict(self.result["images"][name])


class Controller:
    """A controller with a cache of its own in `folder`, and a way to the host that fails as `faults` says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache/modelyard/images"
        self.repair()

    def faults(self, **faults: t.Any) -> None:
        """Have the way fail: see unreliable.py."""
        for count in ("sent", "connections"):
            (self.folder / count).unlink(missing_ok=True)
        (self.folder / "faults.json").write_text(json.dumps(faults), encoding="utf-8")

    def repair(self) -> None:
        """Have the way work."""
        self.faults()

    @property
    def wire(self) -> int:
        """Bytes that went towards the host since the last `faults`."""
        count = self.folder / "sent"
        return sum(map(int, count.read_text().split())) if count.exists() else 0

    def start(self, *names: str, check: bool = False) -> subprocess.Popen[str]:
        """Start to bring images."""
        playbook = self.folder / "playbook.yml"
        playbook.write_text(PLAYBOOK.format(images=json.dumps([{"name": name} for name in names])), encoding="utf-8")
        proxy = f"{sys.executable} {HERE / 'unreliable.py'} {self.folder} %h %p"
        options = [
            f'-oProxyCommand="{proxy}"',
            *("-oControlMaster=no", "-oControlPath=none", "-oStrictHostKeyChecking=no"),
            *("-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR"),
        ]
        environment = {
            **os.environ,
            **AS_JSON,
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "ANSIBLE_SSH_ARGS": "",
            # A busy machine is no fault.
            "ANSIBLE_TIMEOUT": "60",
        }
        arguments = ["--check", "--diff"] if check else []
        return subprocess.Popen(
            command(str(playbook), *arguments, ansible_ssh_common_args=" ".join(options)),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def bring(self, *names: str, check: bool = False) -> Ended:
        """Bring images."""
        return ended(self.start(*names, check=check))


def ended(run: subprocess.Popen[str]) -> Ended:
    """Wait for the end of a run."""
    text, _unused = run.communicate(timeout=120)
    try:
        # Progress comes before the report, and warnings come after it.
        report, _end = json.JSONDecoder().raw_decode(text[f"\n{text}".index("\n{") :])
        return Ended(dict(report["plays"][0]["tasks"][0]["hosts"]["host"]), text)
    except (ValueError, LookupError):
        return Ended({}, text)


def kill(run: subprocess.Popen[str]) -> None:
    """End a controller at once, with all its connections."""
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()


def happened(waiting: subprocess.Popen[str]) -> None:
    """Wait until what `Body.when` waits for has happened."""
    waiting.communicate()
    assert waiting.returncode == 0


class Body:
    """The host, past the network: it is a container of this machine."""

    def __init__(self) -> None:
        ask = ["ansible-inventory", "-i", os.environ["MOLECULE_INVENTORY_FILE"], "--host", "host"]
        address = json.loads(subprocess.check_output(ask))["ansible_host"]
        containers = docker.from_env().containers.list(sparse=True)
        self._id = str(next(one.id for one in containers if f'"{address}"' in json.dumps(one.attrs["NetworkSettings"])))

    def run(self, script: str) -> str:
        """Run a script as root; return its output."""
        command = ["docker", "exec", self._id, "sh", "-euc", script]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return str(done.stdout).strip()

    def when(self, event: str, script: str) -> subprocess.Popen[str]:
        """Start to wait for `event` (a shell condition), then run `script`; `happened` waits for its end."""
        loop = f"until {event}; do sleep 0.01; done; {script}"
        command = ["docker", "exec", self._id, "timeout", "120", "sh", "-euc", loop]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def command(self, script: str) -> list[str]:
        """The arguments that run a script as root."""
        return ["docker", "exec", self._id, "sh", "-euc", script]

    def key(self, name: str) -> str | None:
        """The key of the image with this name, or None."""
        return self.run(f"docker image inspect --format '{{{{.Id}}}}' {name} 2>/dev/null || true") or None

    def staged(self) -> list[str]:
        """The files that wait in the staging folder."""
        return self.run(f"ls {STAGING} 2>/dev/null || true").split()

    def assert_sound(self) -> None:
        """No image on it is broken, and none has the name of one on its way."""
        names = self.run("docker images --format '{{.Repository}}:{{.Tag}}'").split()
        assert not [name for name in names if "arriving" in name]
        self.run(
            'ids=$(docker images --quiet --all --no-trunc | sort -u); [ -z "$ids" ] || docker save $ids >/dev/null'
        )

    def settle(self) -> None:
        """Wait until no agent runs there any more."""
        self.run(
            "n=0; while pgrep -f '^/usr/bin/python3 -I' >/dev/null; do n=$((n+1)); [ $n -lt 300 ]; sleep 0.1; done"
        )
