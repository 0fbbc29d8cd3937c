# SPDX-License-Identifier: Apache-2.0
"""Draws each dashboard with what the Prometheus of a yard has measured, for the READMEs.

Environment: ENV and YARD (which yard), ADDRESS (of its ingress), MINUTES (how far back).
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.parse
from collections.abc import Mapping
from typing import Any

import yaml

from ansible_collections.modelyard.mlops.dashboards.build import FOLDER as DASHBOARDS
from ansible_collections.modelyard.mlops.dashboards.live import Live, QueryError, Span
from ansible_collections.modelyard.mlops.dashboards.picture import draw
from delivery import summary
from delivery.yard import ROOT, Yard

IMAGES = ROOT / "collections/ansible_collections/modelyard/mlops/docs/images"
POINTS = 240


class Prometheus:
    """A yard's Prometheus, through its ingress."""

    def __init__(self, address: str, password: str) -> None:
        self._url = f"https://{address}/prometheus/api/v1/"
        self._password = password

    def __call__(self, path: str, parameters: Mapping[str, str]) -> Any:
        """Ask its API.

        :raises QueryError: it refuses the query.
        """
        url = f"{self._url}{path}?{urllib.parse.urlencode(parameters)}"
        try:
            return summary.get(url, self._password, timeout=30)["data"]
        except urllib.error.HTTPError as error:
            raise QueryError(f"{parameters}: {error.read().decode()}") from None


def main() -> int:
    """Draw all; return the exit code."""
    yard = Yard.named(os.environ["ENV"], os.environ["YARD"])
    minutes = float(os.environ.get("MINUTES") or 30)
    password = yaml.safe_load(yard.secrets.read_text())["modelyard_admin_password"]
    prometheus = Prometheus(os.environ["ADDRESS"], password)
    IMAGES.mkdir(exist_ok=True)
    # Whole steps, so that every panel has its points at the same moments.
    step = max(5.0, round(minutes * 60 / POINTS))
    end = time.time() // step * step
    for path in sorted(DASHBOARDS.glob("*.json")):
        picture = IMAGES / f"{path.stem}.png"
        draw(Live(json.loads(path.read_text()), prometheus), Span(end - minutes * 60, end, step), picture)
        print(f"{picture.relative_to(ROOT)}: {picture.stat().st_size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
