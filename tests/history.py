# SPDX-License-Identifier: Apache-2.0
"""Looks for secrets in all that was ever committed: what is deleted is still in the history."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# What is a secret by its form. Each pattern is spelt so that it does not match itself.
SECRETS = {
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE[ ]KEY-----[\\n]*\s*[A-Za-z0-9+/]{40}"),
    "a key of an AWS account": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a token of GitHub": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60,})\b"),
    "a token of GitLab": re.compile(r"\bglpat-[A-Za-z0-9_-]{20}\b"),
    "a token of PyPI": re.compile(r"\bpypi-[A-Za-z0-9_-]{60,}\b"),
    "a token of npm": re.compile(r"\bnpm_[A-Za-z0-9]{36}\b"),
    "a token of Slack": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{20,}\b"),
    "a JSON web token": re.compile(r"\beyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{15,}"),
    "a login in a URL": re.compile(r"\b[a-z+]+://[^\s/:@{}$<'\"]+:(?P<value>[^\s/:@{}$<'\"]{12,})@[\w.]"),
}
# What is one by its name: a long value, as random as words are not.
NAMED = re.compile(
    r"(?i)(?:password|passwd|secret|token|api_?key|private_?key)\w*[\"']?\s*[:=]\s*[\"']?(?P<value>[A-Za-z0-9+/_=-]{16,})"
)
RANDOM = 3.7  # bits a character; words of a language have fewer, base64 of 24 bytes has about 4.5
# Found, looked at, and no secret: the value, and why.
ALLOWED: dict[str, str] = {}


def main() -> int:
    """Print what looks like a secret; return the exit code."""
    findings = list(dict.fromkeys(_history()))
    print("\n".join(findings))
    return 1 if findings else 0


def secrets(line: str) -> Iterator[str]:
    """Yield what a line holds that looks like a secret, by what it is."""
    for what, pattern in SECRETS.items():
        if found := pattern.search(line):
            value = found.groupdict().get("value") or found[0]
            if value not in ALLOWED:
                yield what
    for found in NAMED.finditer(line):
        value = found["value"]
        if value not in ALLOWED and any(map(str.isdigit, value)) and _bits(value) > RANDOM:
            yield "a value named as a secret"


def _history() -> Iterator[str]:
    """Yield `commit path: what` for each added line of the history that holds a secret."""
    command = ["git", "log", "--all", "--patch", "--unified=0", "--no-color", "--no-renames", "--format=commit %h"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, errors="replace")
    assert process.stdout is not None
    commit = path = ""
    for line in process.stdout:
        if line.startswith("commit "):
            commit = line.split()[1]
        elif line.startswith("+++ "):
            path = line[6:].rstrip()
        elif line.startswith("+"):
            for what in secrets(line[1:]):
                yield f"{commit} {path}: {what}"
    if process.wait():
        raise SystemExit("git does not show the history")


def _bits(text: str) -> float:
    """Return how random a text is: its entropy in bits a character."""
    counts = Counter(text)
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts.values())


if __name__ == "__main__":
    sys.exit(main())
