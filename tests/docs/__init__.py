# SPDX-License-Identifier: Apache-2.0
"""The documentation: what of it is generated into committed Markdown, the site, and the checks of both."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = ROOT / "collections/ansible_collections/modelyard/mlops"
