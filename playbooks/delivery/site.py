# SPDX-License-Identifier: Apache-2.0
"""Runs playbooks on a yard's hosts, with what the inventory needs to know of this run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import credentials
from .errors import DeliveryError
from .run import LAST_LINES, Run
from .yard import Yard

_RECAP = re.compile(r"^(?P<host>\S+)\s+: ok=(?P<ok>\d+)\s+changed=(?P<changed>\d+)\s+unreachable=(?P<unreachable>\d+)"
                    r"\s+failed=(?P<failed>\d+)")  # fmt: skip
_ERROR = re.compile(r"^\[ERROR\]: (?:Task failed: )?(?:(?:Module|Action) failed: )?(?P<reason>.*)")
_HEADLINE = re.compile(r"^(?:PLAY|TASK|RUNNING HANDLER) \[(?P<name>[^\]]+)\]")
# What image_transfer and training_run print while they work.
_STEP = re.compile(r"\S+: \S+: [\d.]+ \S+ of [\d.]+ |\[\S+\] training ")


# Where Grafana is installed from; without it, a rehearsal prepares all but the server.
GRAFANA = "https://apt.grafana.com"


@dataclass(frozen=True)
class Recap:
    """How many tasks of a playbook ran, and how many of them changed something, on one host."""

    ok: int
    changed: int


@dataclass(frozen=True)
class Places:
    """The addresses of the hosts, one of each kind; all three may be the same."""

    app: str
    tracking: str
    monitoring: str


def environment(yard: Yard, cloud: Mapping[str, str]) -> dict[str, str]:
    """Return a playbook's environment: `cloud`, and what the inventory and group_vars read of this run.

    :param cloud: the whole environment in which the cloud is reached.
    """
    vault = yard.state / credentials.VAULT_PASSWORD_FILE
    return {
        # The key that opens the hosts may be one of those that open a team's SOPS files.
        **({"SOPS_AGE_SSH_PRIVATE_KEY_FILE": str(yard.private_key)} if yard.private_key.exists() else {}),
        **cloud,
        **({"ANSIBLE_VAULT_PASSWORD_FILE": str(vault)} if vault.exists() else {}),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ANSIBLE_CONFIG": str(yard.root / "ansible.cfg"),
        "MODELYARD_YARD": yard.name,
        "MODELYARD_STATE": str(yard.state),
        "MODELYARD_COMMIT": yard.commit(),
        **({"MODELYARD_GRAFANA": "upstream" if reaches(GRAFANA) else "none"} if yard.rehearsed else {}),
    }


def reaches(url: str, timeout: float = 5.0) -> bool:
    """Say whether this machine, and so the rehearsal's hosts, get an answer from `url`."""
    try:
        with urllib.request.urlopen(url, timeout=timeout):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def play(
    run: Run, yard: Yard, playbook: str, cloud: Mapping[str, str], arguments: Sequence[str] = ()
) -> dict[str, Recap]:
    """Run a playbook of playbooks/ (or a collection's, by its FQCN) and return its recap by host.

    :raises DeliveryError: a task failed; the message says why.
    """
    return recap(lines(run, yard, playbook, cloud, arguments))


def lines(run: Run, yard: Yard, playbook: str, cloud: Mapping[str, str], arguments: Sequence[str] = ()) -> list[str]:
    """Run a playbook as `play` does, and return what it printed."""
    code, printed = attempt(run, yard, playbook, cloud, arguments)
    if code:
        raise DeliveryError("\n".join([f"{playbook} ended with exit code {code}:", *reasons(printed)]))
    return printed


def attempt(
    run: Run, yard: Yard, playbook: str, cloud: Mapping[str, str], arguments: Sequence[str] = ()
) -> tuple[int, list[str]]:
    """Run a playbook, and return its exit code and what it printed, whatever came of it."""
    argv = command(yard, playbook, arguments)
    return run.command(argv, env=environment(yard, cloud), cwd=yard.root, status=progress, expect=range(256))


def command(yard: Yard, playbook: str, arguments: Sequence[str] = ()) -> list[str]:
    """Return the ansible-playbook command for a playbook of playbooks/ or, by its FQCN, of a collection."""
    target = str(yard.root / "playbooks" / playbook) if playbook.endswith(".yml") else playbook
    secrets = ["--extra-vars", f"@{yard.secrets}"] if yard.secrets.exists() else []
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    return [program, "-i", str(yard.inventory), target, *secrets, *arguments]


def reasons(printed: Sequence[str]) -> list[str]:
    """Return why tasks failed, each reason once: what Ansible says of an error, up to where the task stands.

    Where it says nothing of the kind, these are its last lines.
    """
    found: list[str] = []
    inside = False
    for line in printed:
        if error := _ERROR.match(line):
            inside, line = True, error["reason"]
        elif line.startswith("Origin: "):
            inside = False
        if inside and line.strip():
            found.append(line)
    return list(dict.fromkeys(found)) or list(printed[-LAST_LINES:])


def places(yard: Yard, cloud: Mapping[str, str]) -> Places:
    """Return where the yard's services are: the first host of each group of the inventory.

    :raises DeliveryError: a group has no host.
    """
    program = Path(sys.executable).with_name("ansible-inventory")
    command = [str(program), "-i", str(yard.inventory), "--list"]
    done = subprocess.run(command, env=environment(yard, cloud), cwd=yard.root, capture_output=True, text=True)
    try:
        found = json.loads(done.stdout)
        return Places(*(_address(found, group) for group in ("app", "tracking", "monitoring")))
    except (ValueError, LookupError) as error:
        raise DeliveryError(
            f"{yard.inventory} has no host in one of app, tracking, monitoring: {done.stderr.strip()[-500:]}"
        ) from error


def _address(inventory: Mapping[str, Any], group: str) -> str:
    host = inventory["_meta"]["hostvars"][min(inventory[group]["hosts"])]["ansible_host"]
    # Ansible marks what comes from a cloud as not to be templated.
    return str(host["__ansible_unsafe"] if isinstance(host, dict) else host)


def progress(line: str) -> str | None:
    """Return what a line of Ansible's output says of where it is: a play, a task, or how far a long task got."""
    found = _HEADLINE.match(line)
    if found:
        return found["name"]
    return line if _STEP.match(line) else None


def recap(printed: Sequence[str]) -> dict[str, Recap]:
    """Read the play recap at the end of Ansible's output."""
    found = (_RECAP.match(line) for line in printed)
    return {match["host"]: Recap(int(match["ok"]), int(match["changed"])) for match in found if match}
