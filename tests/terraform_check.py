# SPDX-License-Identifier: Apache-2.0
"""Checks Terraform's format, and validates the root modules and through them all others, without their backends."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".cache/lint/terraform"
sys.path.insert(0, str(ROOT / "playbooks"))

from delivery import terraform, terraform_program  # noqa: E402  (the path above is what makes it importable)
from delivery.errors import DeliveryError  # noqa: E402
from delivery.run import Run  # noqa: E402


def main() -> int:
    """Print what is wrong; return the exit code."""
    findings = []
    with Path(os.devnull).open("w") as nowhere:
        run, binary = Run(WORK / "log", screen=nowhere), terraform_program.find(Path(sys.prefix))
        _, misformatted = run.command(
            [binary, "fmt", "-check", "-recursive", ROOT / "terraform"], env={"TF_CLI_CONFIG_FILE": ""}, expect=(0, 3)
        )
        findings += [f"{path}: not formatted: terraform fmt -recursive terraform" for path in misformatted]
        # A root module is what has a lock file.
        for lock in sorted((ROOT / "terraform").rglob(".terraform.lock.hcl")):
            source = lock.parent
            try:
                root = terraform.Root(run, binary, source, WORK / source.name, os.environ, bucket="")
                root.call("init", "-input=false", "-no-color", "-backend=false", "-lockfile=readonly")
                root.call("validate", "-no-color")
            except DeliveryError as error:
                findings.append(f"{source.relative_to(ROOT)}: {error}")
    print("\n".join(findings))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
