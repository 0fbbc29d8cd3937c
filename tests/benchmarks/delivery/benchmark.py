# SPDX-License-Identifier: Apache-2.0
"""Measures how long a delivery takes, by phase: a push to a real remote, delivered by the real workflow under act.

make benchmark TOPIC=delivery                  in a yard that is made for it and taken down
make benchmark TOPIC=delivery ARGS=rehearsal   in a yard of this clone that is up
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))

from stand_ins.forge import Forge  # noqa: E402  (the path above is what makes it importable)
from stand_ins.github import serve  # noqa: E402

RESULTS = Path(__file__).with_name("results.json")
PAGE = "images/iris/src/iris_model/serving/page.html"
READER = "README.md"
ROUNDS = 2
PATIENCE = 600.0
SLOWEST = 8
# What ansible.posix.profile_tasks prints at the end of a playbook.
_TASK_TIME = re.compile(r"^(?P<task>\S.*?) -+ (?P<seconds>[\d.]+)s$")

# What each figure must be at most, in seconds.
WANTED: dict[str, float | None] = {
    "code-only push: first new answer": 90.0,
    "code-only push: terraform": 15.0,
    "code-only push: hosts": None,
    "code-only push: images": 15.0,
    "code-only push: site": 45.0,
    "code-only push: the job's end": None,
    "no-op push: the job's end": 60.0,
    "no-op push: terraform": None,
    "no-op push: images": None,
    "no-op push: site": None,
}


class Bench:
    """A yard that is up, and the remote that its commits are pushed to."""

    def __init__(self, yard: str, forge: Forge) -> None:
        self._state = ROOT / ".modelyard" / yard
        self._yard = yard
        self._forge = forge
        self._marks = 0
        self.tasks: dict[str, dict[str, float]] = {}

    def push_code(self) -> dict[str, float]:
        """Push a change of the app's page; return seconds until it is served, and by phase."""
        return self._push("code-only push", PAGE, "</html>", "<!-- {mark} -->\n</html>", served=True)

    def push_words(self) -> dict[str, float]:
        """Push a change that is no part of what is delivered."""
        return self._push("no-op push", READER, "# Modelyard", "# Modelyard\n\n{mark}", served=False)

    def _push(self, name: str, path: str, old: str, new: str, *, served: bool) -> dict[str, float]:
        self._marks += 1
        mark = f"{name}, {self._marks}, {time.time():.0f}"
        self._forge.edit(path, old, new.format(mark=mark))
        self._forge.commit(mark)
        began = time.monotonic()
        job = self._forge.push()
        found = {"first new answer": self._until_served(mark) - began} if served else {}
        done = job.result()
        if done.exit_code:
            raise SystemExit(f"the delivery failed:\n{done.output[-4000:]}")
        return self._figures(name, {**found, "the job's end": time.monotonic() - began})

    def _figures(self, name: str, found: dict[str, float]) -> dict[str, float]:
        phases: dict[str, float] = json.loads((self._state / "summary.json").read_text())["seconds"]
        self.tasks[name] = self._slowest()
        return {f"{name}: {what}": seconds for what, seconds in {**found, **phases}.items()}

    def _slowest(self) -> dict[str, float]:
        """Return the slowest tasks of the last playbook, in seconds."""
        last = (self._state / "delivery.log").read_text().rpartition("PLAY RECAP")[2]
        found = filter(None, map(_TASK_TIME.match, last.splitlines()))
        return dict([(one["task"], float(one["seconds"])) for one in found][:SLOWEST])

    def _until_served(self, mark: str) -> float:
        address = json.loads((self._state / "summary.json").read_text())["app"]
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with urllib.request.urlopen(f"http://{address}/", timeout=10) as answer:
                if mark in answer.read().decode():
                    return time.monotonic()
            time.sleep(0.1)
        raise SystemExit(f"the page never held {mark!r}")


@contextmanager
def a_yard(name: str | None) -> Iterator[Bench]:
    """A yard that is up: the named one, or one that is gone afterwards."""
    yard = name or "bench-delivery"
    try:
        _make("up", yard)
        with serve() as github, tempfile.TemporaryDirectory() as folder:
            yield Bench(yard, Forge(ROOT, Path(folder), github, {"YARD": yard, "ENV": "rehearsal"}))
    finally:
        if name is None:
            _make("down", yard)


def main(arguments: list[str]) -> int:
    """Measure, write and print."""
    figures: dict[str, list[float]] = defaultdict(list)
    with a_yard(arguments[0] if arguments else None) as bench:
        for _round in range(ROUNDS):
            for measure in (bench.push_code, bench.push_words):
                for name, seconds in measure().items():
                    figures[name].append(seconds)
    rows = {name: round(statistics.median(figures[name]), 1) for name in WANTED}
    RESULTS.write_text(
        json.dumps({"machine": "2 cores", "rounds": ROUNDS, "medians": rows, "tasks": bench.tasks}, indent=2) + "\n"
    )
    print("| seconds (median) | measured | at most |\n|---|---:|---:|")
    for name, value in rows.items():
        print(f"| {name} | {value:g} | {WANTED[name] or ''} |")
    for name, tasks in bench.tasks.items():
        print(f"\nThe slowest tasks of the last {name}:")
        print("\n".join(f"  {seconds:6.2f} s  {task}" for task, seconds in tasks.items()))
    return 0


def _make(verb: str, yard: str) -> None:
    command = ["make", verb, f"YARD={yard}", "ENV=rehearsal"]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}{done.stderr[-2000:]}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
