# SPDX-License-Identifier: Apache-2.0
"""Part of the same scenarios as test_unchanged.py: the secrets that a role is given show nowhere.

Each secret of a scenario holds the canary. tests/run.py looks for it in what the scenario prints, with all diffs, and
`play` in what its tests run.
"""

from __future__ import annotations

import typing as t

import pytest
import testinfra
import yaml
from testinfra.host import Host

from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import (
    CANARY,
    CONVERGE,
    INVENTORY,
    SCENARIO,
    play,
)

SPEC = SCENARIO.parents[2] / "roles" / SCENARIO.name / "meta/argument_specs.yml"
GIVEN = any(CANARY in (SCENARIO / name).read_text() for name in ("converge.yml", "molecule.yml"))
#: The roles that keep only hashes of their secrets, or nothing of them.
KEPT_NOWHERE = ("image_transfer", "ingress")
#: The journal holds what sudo ran: no command that looks for the canary may hold it.
PATTERN = f"[{CANARY[0]}]{CANARY[1:]}"

given = pytest.mark.skipif(not GIVEN, reason="the scenario has no secret")


def takes_secrets(options: dict[str, t.Any]) -> bool:
    """Whether one of the options is a secret, or has some within it."""
    return any(
        option.get("no_log") or name.endswith(("password", "secrets")) or takes_secrets(option.get("options", {}))
        for name, option in options.items()
    )


def holders(host: Host, user: str) -> dict[str, int]:
    """Return the mode of each file that has the canary and that a user can read; mounted file systems are left out."""
    search = f"find / /run /tmp -xdev -type f -readable -exec grep -ls '{PATTERN}' {{}} + | xargs -r stat -c '%a %n'"
    with host.sudo(user):
        found = [line.split(maxsplit=1) for line in host.check_output(search).splitlines()]
    return {path: int(mode, 8) for mode, path in found}


@pytest.mark.skipif(not SPEC.exists(), reason="the scenario is not a role's own")
def test_a_role_that_takes_secrets_is_given_some() -> None:
    options = yaml.safe_load(SPEC.read_text())["argument_specs"]["main"]["options"]
    assert takes_secrets(options) == GIVEN


@given
def test_no_run_prints_a_secret() -> None:
    code, output = play(CONVERGE, "--check", "--diff", "-vvv")  # which refuses an output that has one
    assert code == 0, output


@given
def test_a_host_shows_no_secret(host: Host) -> None:
    commands = ["journalctl --no-pager", "ps axww -o args"]
    with host.sudo():
        if host.exists("docker"):
            for container in host.check_output("docker ps --all --quiet").split():
                commands += [f"docker inspect {container}", f"docker logs {container} 2>&1"]
        assert [command for command in commands if CANARY in host.check_output(command)] == []


@given
def test_no_other_user_can_read_a_secret(host: Host) -> None:
    assert holders(host, "nobody") == {}


@given
@pytest.mark.skipif(SCENARIO.name in KEPT_NOWHERE, reason="the role keeps no secret")
def test_files_that_hold_a_secret_are_closed() -> None:
    hosts = testinfra.get_hosts(["ansible://all"], ansible_inventory=INVENTORY)
    found = {(str(host), path): mode for host in hosts for path, mode in holders(host, "root").items()}
    assert found, "no host has been given a secret"
    assert [where for where, mode in found.items() if mode & 0o037] == []
