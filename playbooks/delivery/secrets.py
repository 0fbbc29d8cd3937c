# SPDX-License-Identifier: Apache-2.0
"""Makes an environment's secrets once: passwords of its own, in a file that only its owner reads."""

from __future__ import annotations

import secrets
from pathlib import Path

import yaml

from . import private

# The logins behind the ingress, a person's and Prometheus', and Grafana's own; group_vars give them to the roles.
NAMES = ("modelyard_admin_password", "modelyard_grafana_password", "modelyard_prometheus_password")


def ensure(path: Path) -> bool:
    """Add the secrets that `path` does not have yet; return whether there were any to add."""
    have: dict[str, str] = yaml.safe_load(path.read_text()) if path.exists() else {}
    missing = [name for name in NAMES if name not in have]
    if not missing:
        return False
    have |= {name: secrets.token_urlsafe(18) for name in missing}
    private.write(path, "---\n# Made by `make secrets`. A person logs in as `admin`.\n" + yaml.safe_dump(have))
    return True
