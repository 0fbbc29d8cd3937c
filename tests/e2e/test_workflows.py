# SPDX-License-Identifier: Apache-2.0
"""The delivery as GitHub starts it: the real workflow file under `act`, on the yard instead of production."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import E2EYard

ACTIONS = Path(__file__).with_name("actions")


@dataclass(frozen=True)
class Job:
    """How a workflow's one job went."""

    exit_code: int
    output: str
    results: dict[str, str]
    summary: str


def test_a_push_to_main_delivers_and_changes_nothing_that_is_right(yard: E2EYard, tmp_path: Path) -> None:
    job = push(yard, "deliver.yml", tmp_path)
    assert job.exit_code == 0, job.output[-6000:]
    assert job.results["Deliver"] == "success"
    # Neither AWS nor a secret of GitHub is asked for, and nothing has failed.
    assert job.results.keys().isdisjoint(
        {"Take the role in AWS", "Put the keys in their place", "Say what serves instead"}
    )
    assert set(yard.recap().values()) == {0}
    assert "0 tasks changed" in job.summary
    assert f"http://{yard.address}/" in job.summary
    assert re.search(r"iris version \d+ serves as release \d+", job.summary)
    assert re.search(r"Seconds: .*terraform \d+.*images \d+.*site \d+", job.summary)


def push(yard: E2EYard, workflow: str, folder: Path) -> Job:
    """Run a workflow of the yard's clone as a push to main starts it, and wait for its end."""
    path = yard.root / ".github/workflows" / workflow
    event = folder / "event.json"
    event.write_text(json.dumps({"ref": "refs/heads/main"}))
    done = subprocess.run(
        [
            Path(sys.executable).with_name("act"), "push",
            "--json",
            "--workflows", path,
            "--eventpath", event,
            "--platform", "ubuntu-24.04=-self-hosted",
            "--pull=false",
            "--no-skip-checkout",
            "--no-cache-server",
            "--action-cache-path", folder / "act",
            "--var", "ENVIRONMENT=rehearsal",
            *(word for name, value in yard.settings.items() for word in ("--env", f"{name}={value}")),
            "--env", f"CLONE={yard.root}",
            *stand_ins(path),
        ],
        cwd=yard.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    shutil.rmtree(folder / "act", ignore_errors=True)
    return read(done.returncode, done.stdout)


def stand_ins(workflow: Path) -> list[str]:
    """Return the options that put our stand-ins in the place of the actions that a workflow fetches."""
    used = sorted(set(re.findall(r"uses: (\S+/(\S+)@[0-9a-f]{40})", workflow.read_text())))
    return [word for action, name in used for word in ("--local-repository", f"{action}={ACTIONS / name}")]


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
