# SPDX-License-Identifier: Apache-2.0
"""Installs the previous release of the collection, as its users have it, and says which that is.

Usage: previous.py FOLDER

The previous release is the newest tag vX.Y.Z before this commit. As long as there is none, it is BEFORE_ALL_RELEASES,
or the oldest commit of a clone that does not go back so far. It is built from the history, and installed into FOLDER.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

# One of which the whole delivery was tested. Since then HAProxy's unit is the same: another one would restart it.
BEFORE_ALL_RELEASES = "0700b4230205"

COLLECTION = Path(__file__).resolve().parents[3]


def main(folder: Path) -> None:
    """Build it, install it and print its name."""
    name = previous()
    tree = git("archive", "--format=tar", name)
    with tempfile.TemporaryDirectory() as temporary:
        subprocess.run(["tar", "--extract", "--directory", temporary], input=tree, check=True)
        galaxy("build", temporary, "--output-path", temporary)
        (built,) = Path(temporary).glob("*.tar.gz")
        # What it needs of other collections is there; Galaxy is not asked.
        galaxy("install", str(built), "--collections-path", str(folder), "--no-deps", "--force", "--offline")
    print(name)


def previous() -> str:
    """Return the tag or commit of the previous release."""
    # Not a tag of this very commit: that is the release which is being tested.
    here = ("--merged", "HEAD", "--no-contains", "HEAD")
    tags = git("tag", *here, "--list", "v[0-9]*", "--sort=-version:refname").decode().split()
    commits = git("rev-list", "HEAD").decode().split()
    before = [commit for commit in commits if commit.startswith(BEFORE_ALL_RELEASES)]
    return [*tags, *before, commits[-1]][0]


def galaxy(*arguments: str) -> None:
    """Run a command of ansible-galaxy for collections."""
    subprocess.run(["ansible-galaxy", "collection", *arguments], stdout=subprocess.DEVNULL, check=True)


def git(*arguments: str) -> bytes:
    """Return what git prints, or end with what the history lacks."""
    done = subprocess.run(["git", *arguments], cwd=COLLECTION, capture_output=True, check=False)
    if done.returncode:
        sys.exit(
            f"git {arguments[0]}: {done.stderr.decode().strip()}. The previous release is built from the repository's "
            "history: this needs a clone of it"
        )
    return done.stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]))
