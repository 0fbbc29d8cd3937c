# SPDX-License-Identifier: Apache-2.0
"""Measures deployments, their repetition and the ways back, on the host of app_deploy's molecule scenario.

python tests/benchmarks/release/benchmark.py        in about four minutes

Writes results.json beside this file, and prints it as a table. Each figure is the median of ROUNDS.
"""

from __future__ import annotations

import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
COLLECTION = ROOT / "collections/ansible_collections/modelyard/mlops"
CONVERGE = COLLECTION / "extensions/molecule/app_deploy/converge.yml"
RESULTS = Path(__file__).with_name("results.json")
ROUNDS = 3
IN_TURN = Path(__file__).with_name("through_ingress.py")

BEFORE_SWITCH = ("vacate", "start", "gate", "warm_up", "measure")

# What each figure must be at most, in its own unit; the app's own start is part of what the gate waits for.
WANTED = {
    "the same release again: seconds of the role": 3.0,
    "a new release: seconds until switched": None,
    "a new release: seconds of that in the gate": None,
    "a new release: seconds until switched, without the gate": 5.0,
    "rollback, old slot alive: seconds until switched": 1.0,
    "rollback, old slot stopped: seconds until switched": None,
    "rollback, old slot stopped: the same without the gate": 2.0,
    "return after the switch: milliseconds": 1000.0,
    "strategy recreate: seconds in which nothing serves": None,
    "a request straight to the app, p50: milliseconds": None,
    "a request through the ingress, p50: milliseconds": None,
    "what the ingress adds, p50: milliseconds": 0.3,
    "the ingress' memory: MiB": None,
}


@dataclass(frozen=True)
class Outcome:
    """What a play came to: seconds of the role's tasks, and what app_release returned."""

    seconds: float
    result: dict[str, Any]

    @property
    def steps(self) -> dict[str, float]:
        """Seconds of each step."""
        return dict(self.result["steps"])

    @property
    def until_switched(self) -> float:
        """Seconds from the first step to the switch."""
        return sum(seconds for step, seconds in self.steps.items() if step in BEFORE_SWITCH)


class Bench:
    """A host, and the plays that it is measured with."""

    def __init__(self, folder: Path) -> None:
        self._inventory = folder / "inventory"
        collections = [COLLECTION.parents[2], ROOT / ".ansible/collections"]
        self._env = {
            **{name: value for name, value in os.environ.items() if name != "ANSIBLE_CONFIG"},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "NO_COLOR": "1",
            "MOLECULE_EPHEMERAL_DIRECTORY": str(folder),
            "ANSIBLE_COLLECTIONS_PATH": ":".join(map(str, collections)),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_HOST_KEY_CHECKING": "false",
            "ANSIBLE_PIPELINING": "true",
        }

    def molecule(self, step: str) -> None:
        """Run a step of the scenario."""
        environment = {name: value for name, value in self._env.items() if name != "ANSIBLE_STDOUT_CALLBACK"}
        command = ["molecule", step, "-s", "app_deploy"]
        done = subprocess.run(command, cwd=COLLECTION, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}{done.stderr[-2000:]}")

    def deploy(self, **variables: Any) -> Outcome:
        """Run the role."""
        return self._play(str(CONVERGE), variables)

    def roll_back(self) -> Outcome:
        """Go back to the release that served before."""
        return self._play("modelyard.mlops.rollback", {"app": "demo"})

    def through_ingress(self, slot: str) -> dict[str, float]:
        """What the ingress adds to a request; measured on the host."""
        port = {"blue": 18081, "green": 18082}[slot]
        command = ["ansible", "-i", str(self._inventory), "all", "--become", "-m", "ansible.builtin.script"]
        environment = {name: value for name, value in self._env.items() if name != "ANSIBLE_STDOUT_CALLBACK"}
        done = subprocess.run(
            [*command, "-a", f"executable=python3 {IN_TURN} {port} /predict"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        # The result has the script's output in it as text, of which the quotes are escaped.
        found = [line for line in done.stdout.splitlines() if "FIGURES" in line]
        if not found:
            raise SystemExit(f"{IN_TURN} measured nothing:\n{done.stdout[-3000:]}{done.stderr[-2000:]}")
        figures: dict[str, float] = json.loads(
            found[0].partition("FIGURES ")[2].replace("\\", "").rpartition("}")[0] + "}"
        )
        return figures

    def _play(self, playbook: str, variables: dict[str, Any]) -> Outcome:
        command = ["ansible-playbook", "-i", str(self._inventory), playbook, "-e", json.dumps(variables)]
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, check=False)
        # The task's own lines come before it, and others' may after it.
        report, _end = json.JSONDecoder().raw_decode(done.stdout[done.stdout.index("{\n") :])
        seconds, result = 0.0, None
        for task in (task for play in report["plays"] for task in play["tasks"]):
            answer = task["hosts"].get("host", {})
            seconds += _seconds(task["task"]["duration"])
            result = next((item for item in (answer, *answer.get("results", [])) if "steps" in item), result)
        if result is None:
            raise SystemExit(f"{playbook} {variables} released nothing:\n{done.stdout[-3000:]}{done.stderr[-2000:]}")
        return Outcome(seconds, result)


def measure(bench: Bench) -> dict[str, list[float]]:
    """All figures, as often as there are rounds."""
    figures: dict[str, list[float]] = defaultdict(list)
    names = iter(f"{number}" for number in range(1000))
    for _round in range(ROUNDS):
        wanted = {"version": "2", "behaviour": next(names)}
        new = bench.deploy(**wanted)
        figures["a new release: seconds until switched"].append(new.until_switched)
        figures["a new release: seconds of that in the gate"].append(new.steps["gate"])
        figures["a new release: seconds until switched, without the gate"].append(
            new.until_switched - new.steps["gate"]
        )
        figures["the same release again: seconds of the role"].append(bench.deploy(**wanted).seconds)
        stopped = bench.roll_back()
        figures["rollback, old slot stopped: seconds until switched"].append(stopped.until_switched)
        figures["rollback, old slot stopped: the same without the gate"].append(
            stopped.until_switched - stopped.steps["gate"]
        )
        bench.deploy(version="1", behaviour=next(names), keep_previous_running=True)
        figures["rollback, old slot alive: seconds until switched"].append(bench.roll_back().until_switched)
        # Its only error is the one after the switch, so this is what a returned release costs.
        returned = bench.deploy(version="1", behaviour="fails later", app_deploy_force=True)
        figures["return after the switch: milliseconds"].append(returned.steps["return"] * 1000)
        recreated = bench.deploy(version="1", behaviour=next(names), way="recreate")
        figures["strategy recreate: seconds in which nothing serves"].append(recreated.result["downtime"])
        for name, value in bench.through_ingress(recreated.result["slot"]).items():
            figures[name].append(value)
    return figures


@contextmanager
def a_host() -> Iterator[Bench]:
    """A converged host that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        try:
            bench.molecule("converge")
            yield bench
        finally:
            bench.molecule("destroy")


def main() -> int:
    """Measure, write and print."""
    with a_host() as bench:
        figures = measure(bench)
    rows = {name: round(statistics.median(figures[name]), 3) for name in WANTED}
    RESULTS.write_text(json.dumps({"machine": "2 cores", "rounds": ROUNDS, "medians": rows}, indent=2) + "\n")
    print("| figure (median) | measured | at most |\n|---|---:|---:|")
    for name, value in rows.items():
        print(f"| {name} | {value:g} | {WANTED[name] or ''} |")
    return 0


def _seconds(duration: dict[str, str]) -> float:
    begin, end = (datetime.datetime.fromisoformat(duration[key]) for key in ("start", "end"))
    return (end - begin).total_seconds()


if __name__ == "__main__":
    sys.exit(main())
