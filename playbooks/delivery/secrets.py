# SPDX-License-Identifier: Apache-2.0
"""Makes an environment's secrets once: passwords of its own, in a file that only its owner reads."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import yaml

# The logins behind the ingress and Grafana's own; group_vars give them to the roles.
NAMES = ("modelyard_admin_password", "modelyard_grafana_password")


def ensure(path: Path) -> bool:
    """Add the secrets that `path` does not have yet; return whether there were any to add.

    The file is replaced as a whole, so that it is never seen half written nor readable by others.
    """
    have: dict[str, str] = yaml.safe_load(path.read_text()) if path.exists() else {}
    missing = [name for name in NAMES if name not in have]
    if not missing:
        return False
    have |= {name: secrets.token_urlsafe(18) for name in missing}
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("---\n# Made by `make secrets`. The user of the logins is `admin`.\n" + yaml.safe_dump(have))
    fresh.rename(path)
    return True
