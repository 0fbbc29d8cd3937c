# SPDX-License-Identifier: Apache-2.0
"""Runs the real workflow files under `act`, on a yard instead of production."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stand_ins.github import GitHub

ACTIONS = Path(__file__).with_name("actions")


@dataclass(frozen=True)
class Job:
    """How a workflow's one job went."""

    exit_code: int
    output: str
    results: dict[str, str]
    summary: str


def run(
    clone: Path,
    workflow: str,
    event: str,
    folder: Path,
    github: GitHub,
    *,
    settings: Mapping[str, str],
    details: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str] | None = None,
    job: str | None = None,
) -> Job:
    """Run a workflow of a clone as GitHub would for an event, and wait for its end.

    :param clone: the tree that the job finds when it checks out.
    :param event: the event's name, such as `push`.
    :param folder: where act may put what it needs.
    :param github: who stands in for GitHub's API.
    :param settings: what makes the yard this one, as environment variables.
    :param details: what GitHub tells of the event.
    :param inputs: the inputs of a `workflow_dispatch`.
    :param job: the one job to run, where there are several.
    """
    path = clone / ".github/workflows" / workflow
    told = folder / "event.json"
    told.write_text(json.dumps({"ref": "refs/heads/main", "inputs": dict(inputs or {}), **(details or {})}))
    reach = github.environment()
    done = subprocess.run(
        [
            Path(sys.executable).with_name("act"), event,
            "--json",
            "--workflows", path,
            "--eventpath", told,
            "--platform", "ubuntu-24.04=-self-hosted",
            "--pull=false",
            "--no-skip-checkout",
            "--no-cache-server",
            "--action-cache-path", folder / "act",
            "--var", "ENVIRONMENT=rehearsal",
            "--secret", f"GITHUB_TOKEN={reach['GITHUB_TOKEN']}",
            *(word for name, value in settings.items() for word in ("--env", f"{name}={value}")),
            "--env", f"CLONE={clone}",
            *(word for name in ("GITHUB_API_URL", "GITHUB_REPOSITORY") for word in ("--env", f"{name}={reach[name]}")),
            *(["--job", job] if job else []),
            *_stand_ins(path),
        ],
        cwd=clone, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    shutil.rmtree(folder / "act", ignore_errors=True)
    return read(done.returncode, done.stdout)


def read(exit_code: int, output: str) -> Job:
    """Read what act says in its JSON lines: what came of each step, and the job's summary."""
    results: dict[str, str] = {}
    summary = ""
    lines = []
    for line in output.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            lines.append(line)
            continue
        lines.append(entry["msg"].rstrip())
        if entry.get("stage") == "Main" and "stepResult" in entry:
            results[entry["step"]] = entry["stepResult"]
        if entry.get("command") == "summary":
            summary += entry["content"]
    return Job(exit_code, "\n".join(lines), results, summary)


def _stand_ins(workflow: Path) -> list[str]:
    """Return the options that put our stand-ins in the place of the actions that a workflow fetches."""
    used = sorted(set(re.findall(r"uses: (\S+/(\S+)@[0-9a-f]{40})", workflow.read_text())))
    return [word for action, name in used for word in ("--local-repository", f"{action}={ACTIONS / name}")]
