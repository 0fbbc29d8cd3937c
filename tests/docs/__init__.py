# SPDX-License-Identifier: Apache-2.0
"""The documentation: what of it is generated into committed Markdown, the site, and the checks of both."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = ROOT / "collections/ansible_collections/modelyard/mlops"
# What the repository is called on GitHub, and where its files are shown there.
REPOSITORY: str = yaml.safe_load((COLLECTION / "galaxy.yml").read_text())["repository"]
FILES = f"{REPOSITORY}/blob/main/"


def linked_file(target: str, page: Path) -> Path | None:
    """Return the file of this repository that a page's link leads to, by a path or a whole address; None elsewhere.

    :param target: the link without its anchor.
    """
    if target.startswith(FILES):
        return ROOT / target.removeprefix(FILES)
    if target.startswith(("http:", "https:", "mailto:")):
        return None
    return (page.parent / target).resolve() if target else page
