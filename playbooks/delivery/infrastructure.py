# SPDX-License-Identifier: Apache-2.0
"""What Terraform owns of a yard: the state's bucket and the environment, applied and destroyed in that order."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rehearsal import bodies

from . import terraform
from .run import Run
from .terraform import Root
from .yard import Yard


def apply(run: Run, yard: Yard, env: Mapping[str, str]) -> bool:
    """Make the cloud what the environment's folder says; say whether anything changed.

    :param env: the whole environment in which the cloud is reached.
    """
    # On real AWS the bucket is a person's to make, once (`make bootstrap`): a delivery has no right to it.
    created = bootstrap(run, yard, env) if yard.rehearsed else False
    return _environment(run, yard, env).apply().changed or created


def bootstrap(run: Run, yard: Yard, env: Mapping[str, str], repository: str | None = None) -> bool:
    """Make the state's bucket, and the access of `repository`'s workflows; say whether anything changed."""
    environment = _environment(run, yard, env)
    variables = {"bucket": environment.bucket} | ({"repository": repository} if repository else {})
    return terraform.bootstrap(
        replace(
            environment,
            source=yard.root / "terraform/bootstrap",
            work=yard.state / "terraform/bootstrap",
            variables=variables,
        )
    )


def destroy(run: Run, yard: Yard, env: Mapping[str, str]) -> None:
    """Remove from the cloud what `apply` made there. The state's bucket stays: it tells what has been."""
    _environment(run, yard, env).destroy()


def _environment(run: Run, yard: Yard, env: Mapping[str, str]) -> Root:
    def log(line: str) -> None:
        run.write(line)
        if line.strip():
            run.status(line.strip())

    return Root(
        binary=terraform.find(yard.root / ".cache"),
        source=yard.terraform,
        work=yard.state / "terraform/environment",
        env=env,
        log=log,
        bucket=terraform.state_bucket(env),
        variables=_variables(yard),
    )


def _variables(yard: Yard) -> dict[str, Any]:
    """Return what differs between two rehearsals; production's values are all in its folder."""
    if not yard.rehearsed:
        return {}
    network = yard.state / "network"
    if not network.exists():
        network.write_text(os.environ.get("NETWORK") or bodies.free_network())
    if not yard.private_key.exists():
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", yard.name, "-f", yard.private_key], check=True
        )
    return {
        "name": yard.name,
        "network_cidr": network.read_text().strip(),
        "ssh_public_key": yard.private_key.with_suffix(".pub").read_text().strip(),
    }
