# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Which certificates certbot keeps for the ingress: those whose renewal calls the ingress' program."""

from __future__ import annotations

import os
from collections.abc import Iterable

RENEWALS = "/etc/letsencrypt/renewal"

# Where the role ingress has what others than its variables bring.
DEPLOYED = "/etc/haproxy/certificates"

# The program of the role ingress that puts certificates into the running HAProxy.
PROGRAM = "/usr/local/lib/modelyard/ingress-certificates"


def kept(renewals: Iterable[str]) -> list[str]:
    """The names among certbot's renewal files whose certificates are the ingress' own."""
    return sorted(os.path.basename(path).rpartition(".")[0] for path in renewals if _ours(path))


def _ours(path: str) -> bool:
    with open(path, encoding="utf-8") as stream:
        return any(line.startswith("renew_hook") and PROGRAM in line for line in stream)
