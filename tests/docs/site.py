# SPDX-License-Identifier: Apache-2.0
"""Builds the site: the Markdown pages as they are, and antsibull-docs' page of each module, role and filter.

Markdown is the one format, because GitHub, Galaxy and Sphinx (with MyST) all show it; links in it are those that work
on GitHub, whole addresses where Galaxy shows them too. Here they are pointed to the site's pages, or to the repository
for what the site does not have.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from docs import COLLECTION, REPOSITORY, ROOT, linked_file

OUTPUT = ROOT / ".cache/docs"
PICTURES = COLLECTION / "docs/images"
SPHINX = Path(__file__).resolve().parent / "sphinx"

LINK = re.compile(r"(?<=\]\()(?!#)([^)\s#]*)(#[^)\s]*)?(?=\))")

CONTENTS = """
```{toctree}
:hidden:
:caption: Learn
docs/tutorial
docs/architecture
docs/scale
```

```{toctree}
:hidden:
:caption: Do
:glob:
docs/howto/*
```

```{toctree}
:hidden:
:caption: When something is wrong
docs/errors
docs/runbooks
```

```{toctree}
:hidden:
:caption: Roles
@ROLES@
```

```{toctree}
:hidden:
:caption: Reference
Modules, filters, roles <reference/index>
```
"""


def build() -> int:
    """Build it into .cache/docs/html; return the exit code, which a warning makes 1."""
    source = OUTPUT / "source"
    shutil.rmtree(source, ignore_errors=True)
    reference = source / "reference"
    reference.mkdir(parents=True)
    write_pages(source)
    antsibull = ["antsibull-docs", "collection", "--use-current", "--fail-on-error", "--squash-hierarchy"]
    sphinx = ["sphinx-build", "-q", "-W", "--keep-going", "-c", str(SPHINX), "-d", f"{OUTPUT}/doctrees"]
    for command in (
        [*antsibull, "--dest-dir", str(reference), "modelyard.mlops"],
        [*sphinx, str(source), f"{OUTPUT}/html"],
    ):
        if subprocess.run(command, cwd=ROOT, env=environment()).returncode:
            return 1
    print(f"▸ the documentation: {OUTPUT}/html/index.html")
    return 0


def environment() -> dict[str, str]:
    """Return the environment in which Ansible's tools find this collection, and those that it depends on."""
    return os.environ | {"ANSIBLE_COLLECTIONS_PATH": f"{ROOT}/collections:{ROOT}/.ansible/collections"}


def write_pages(source: Path) -> None:
    """Copy the Markdown pages and their pictures, with links that lead to where things are on the site."""
    files = sorted([COLLECTION / "README.md", *COLLECTION.glob("docs/**/*.md"), *COLLECTION.glob("roles/*/README.md")])
    pages = {path: path.relative_to(COLLECTION) for path in files}
    pages[COLLECTION / "README.md"] = Path("index.md")
    for path, page in pages.items():
        text = relink(path.read_text(), path, pages)
        (source / page).parent.mkdir(parents=True, exist_ok=True)
        (source / page).write_text(text)
    roles = sorted(path.name for path in (COLLECTION / "roles").iterdir())
    with (source / "index.md").open("a") as index:
        index.write(CONTENTS.replace("@ROLES@", "\n".join(f"{role} <roles/{role}/README>" for role in roles)))
    shutil.copytree(PICTURES, source / PICTURES.relative_to(COLLECTION))


def relink(text: str, path: Path, pages: Mapping[Path, Path]) -> str:
    """Return a page's text with its links to files pointed to the site's pages, or else to the repository's.

    :param pages: where on the site each file is that has a page there.
    """

    def target(match: re.Match[str]) -> str:
        file = linked_file(match[1], path)
        anchor = match[2] or ""
        if file is None:
            return match[0]
        if file in pages:
            return os.path.relpath(pages[file], pages[path].parent) + anchor
        if PICTURES in file.parents:
            return match[0]
        return f"{REPOSITORY}/tree/main/{file.relative_to(ROOT)}{anchor}"

    return LINK.sub(target, text)
