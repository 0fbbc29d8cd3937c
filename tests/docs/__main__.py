# SPDX-License-Identifier: Apache-2.0
"""python -m docs generate | check | site

generate    brings the generated blocks of Markdown files up to date
check       names those that are not, and what antsibull-docs finds wrong in the modules' and roles' documentation
site        builds the site; a warning is an error
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from docs import COLLECTION, ROOT, includes, site
from house_rules import repository_files


def generate() -> int:
    """Bring every generated block up to date; return the exit code."""
    for path, text in _stale().items():
        path.write_text(text)
        print(f"▸ {path.relative_to(ROOT)}: brought up to date")
    return 0


def check() -> int:
    """Name the files with a stale block, and what antsibull-docs finds; return the exit code."""
    stale = _stale()
    for path in stale:
        print(f"{path.relative_to(ROOT)}: a generated block is stale: run `make docs`")
    lint = ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "self"]
    found = subprocess.run([*lint, COLLECTION], env=site.environment()).returncode
    return 1 if stale or found else 0


def _stale() -> dict[Path, str]:
    """Return the right text of each Markdown file that has another one."""
    files = [ROOT / path for path in repository_files() if path.endswith(".md")]
    filled = {path: includes.fill(path) for path in files}
    return {path: text for path, text in filled.items() if text != path.read_text()}


COMMANDS = {"generate": generate, "check": check, "site": site.build}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    sys.exit(COMMANDS[sys.argv[1]]())
