# SPDX-License-Identifier: Apache-2.0
"""The rules of this repository that no linter knows: what no file may hold, and how long a YAML file may be."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# A reference is as long as what it describes.
LONGEST_YAML, REFERENCE = 150, "/meta/argument_specs.yml"

# What may stand in no file, and why. Each pattern is spelt so that it does not match itself.
FORBIDDEN = {
    r"ignore[_]errors:": "an error is either expected, then failed_when says so, or it ends the run",
    r"pull_request[_]target": "it runs a stranger's code with our secrets",
    r"checkov[:]skip=\w+(?!:\S|\w)": "a check that is skipped without a reason",
    r"BEGIN [A-Z ]*PRIVATE[ ]KEY": "a private key",
    r"\bAKIA[0-9A-Z]{16}\b": "a key of an AWS account",
    r"py[p]i\.org|python[h]osted\.|npm[j]s\.|deb\.debia[n]|debia[n]\.org/debian": "the address of a package registry",
    r"/wor[k]/(main|shared)\b": "a path of the machine that this was written on",
    re.escape(str(ROOT)) + r"\b": "the path of this clone",
}
LICENSED = (".py", ".tf", ".mjs", ".yml", ".yaml", "Dockerfile", "Makefile")
# What a tool writes or takes in: changelogs, and what is encrypted.
UNLICENSED = re.compile(r"(^|/)changelogs/|(^|/)vault\.yml$|\.sops\.ya?ml$")
# REUSE-IgnoreStart
LICENCE = "SPDX-License-Identifier: Apache-2.0"
# REUSE-IgnoreEnd


def main() -> int:
    """Print what breaks a rule; return the exit code."""
    findings = [f"{path}:{finding}" for path in repository_files() for finding in check(path, _text(path))]
    print("\n".join(findings))
    return 1 if findings else 0


def repository_files() -> list[str]:
    """Return what is or could be committed, so that a new file is checked before anybody adds it."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    return sorted(path for path in set(listed.split("\0")) if path and (ROOT / path).is_file())


def is_shell(path: str) -> bool:
    """Say whether a file of the repository is a shell script: by its first line, as the kernel does."""
    with (ROOT / path).open("rb") as file:
        return re.match(rb"#!.*\b(ba|da)?sh\b", file.readline(100)) is not None


def check(path: str, text: str) -> Iterator[str]:
    """Yield `line: what is wrong` for a file's text."""
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        for pattern, why in FORBIDDEN.items():
            if found := re.search(pattern, line):
                yield f"{number}: {found[0]}: {why}"
    if path.endswith((".yml", ".yaml")) and not path.endswith(REFERENCE) and len(lines) > LONGEST_YAML:
        yield f"{LONGEST_YAML}: {len(lines)} lines: a topic of it wants a file of its own"
    source = (path.endswith(LICENSED) and not UNLICENSED.search(path)) or text.startswith("#!")
    if source and text.strip() and LICENCE not in text[:500]:
        yield f"1: no line `{LICENCE}`"


def _text(path: str) -> str:
    """Return a file's text, nothing for what is not text."""
    content = (ROOT / path).read_bytes()
    return "" if b"\0" in content else content.decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
