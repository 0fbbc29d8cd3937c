# SPDX-License-Identifier: Apache-2.0
"""Installs the previous release of the collection, as its users have it, and says which that is.

Usage: previous.py FOLDER

The previous release is the newest tag vX.Y.Z before this commit. As long as there is none, it is BEFORE_ALL_RELEASES.
Either is in the history of the repository; it is built from there, and installed into FOLDER.
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
    name = git("tag", "--merged", "HEAD^", "--list", "v[0-9]*", "--sort=-version:refname").decode().partition("\n")[0]
    name = name or BEFORE_ALL_RELEASES
    tree = git("archive", "--format=tar", name)
    with tempfile.TemporaryDirectory() as temporary:
        subprocess.run(["tar", "--extract", "--directory", temporary], input=tree, check=True)
        galaxy("build", temporary, "--output-path", temporary)
        (built,) = Path(temporary).glob("*.tar.gz")
        # What it needs of other collections is there; Galaxy is not asked.
        galaxy("install", str(built), "--collections-path", str(folder), "--no-deps", "--force", "--offline")
    print(name)


def galaxy(*arguments: str) -> None:
    """Run a command of ansible-galaxy for collections."""
    subprocess.run(["ansible-galaxy", "collection", *arguments], stdout=subprocess.DEVNULL, check=True)


def git(*arguments: str) -> bytes:
    """Return what git prints, or end with what the history lacks."""
    done = subprocess.run(["git", *arguments], cwd=COLLECTION, capture_output=True, check=False)
    if done.returncode:
        sys.exit(
            f"git {arguments[0]}: {done.stderr.decode().strip()}. The previous release is built from the repository's "
            "history: this needs a clone with all of it (git fetch --unshallow --tags)"
        )
    return done.stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]))
