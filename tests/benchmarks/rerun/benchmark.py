# SPDX-License-Identifier: Apache-2.0
"""Measures a whole site.yml that has nothing to do, by role, and beside what others have for the same.

python tests/benchmarks/rerun/benchmark.py              everything, in about ten minutes
python tests/benchmarks/rerun/benchmark.py boot         have the host, converged
python tests/benchmarks/rerun/benchmark.py measure      measure with the host that there is
python tests/benchmarks/rerun/benchmark.py down         remove it

Writes results.json beside this file, and prints it as tables. Each figure is the median of ROUNDS.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "playbooks")]

from benchmarks.scale.fleet import Fleet, Played, Task  # noqa: E402  (the paths above are what makes them importable)

from delivery import collections, site  # noqa: E402

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
CACHE = ROOT / ".cache/benchmarks"
ROUNDS = 5
MOST_TASKS, MOST_SECONDS = 12, 4.0
GEERLINGGUY = "geerlingguy.docker"

Table = dict[str, dict[str, float]]


def by_role(runs: Sequence[Played]) -> Table:
    """Executed tasks and seconds of each role, and of what is no role's; the first host's."""
    figures: Table = {}
    for role in dict.fromkeys(task.role for task in runs[0].tasks):
        figures[role or "(no role)"] = _figures([[task for task in run.tasks if task.role == role] for run in runs])
    return figures


def by_play(runs: Sequence[Played]) -> Table:
    """Executed tasks and seconds of each play that compares."""
    plays = dict.fromkeys(task.play for task in runs[0].tasks if ": " in task.play)
    return {play: _figures([[task for task in run.tasks if task.play == play] for run in runs]) for play in plays}


def cut_off(fleet: Fleet) -> float:
    """Seconds of a run in which neither host nor controller reaches anything beyond the hosts' own network.

    :raises RuntimeError: something needed more, or changed.
    """
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    with fleet.cut_off():
        return fleet.play_unchanged("dev", also=nowhere).seconds


def compare(fleet: Fleet, playbook: str, rounds: int) -> Table:
    """Run a playbook of peers until nothing changes, and measure."""
    also = {
        "ANSIBLE_COLLECTIONS_PATH": f"{ROOT}/collections:{ROOT}/.ansible/collections:{CACHE}/collections",
        "ANSIBLE_ROLES_PATH": str(CACHE / "roles"),
    }
    fleet.play(str(HERE / playbook), "dev", also=also)
    return by_play([fleet.play(str(HERE / playbook), "dev", also=also) for _ in range(rounds)])


def measure(fleet: Fleet, rounds: int) -> dict[str, Table]:
    """All figures."""
    runs = [fleet.play_unchanged("dev") for _ in range(rounds)]
    whole = {
        "whole run": {
            "tasks": _median([len(run.tasks) for run in runs]),
            "seconds": _median([run.seconds for run in runs]),
        },
        "whole run, cut off": {"tasks": len(runs[0].tasks), "seconds": cut_off(fleet)},
    }
    result: dict[str, Table] = {"roles": {**by_role(runs), **whole}, "peers": {}}
    _keep(result)
    collections.install(HERE / "requirements.yml", CACHE / "collections")
    fleet.play(str(HERE / "prepare.yml"), "dev")
    result["peers"] |= compare(fleet, "peers.yml", rounds)
    if _has_geerlingguy():
        result["peers"] |= compare(fleet, "docker.yml", rounds)
    else:
        print(f"{GEERLINGGUY} is on Galaxy alone, and Galaxy does not answer: it is left out")
    return result


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", nargs="?", choices=["all", "boot", "measure", "down"], default="all")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    fleet = Fleet()
    try:
        if given.step in ("all", "boot"):
            fleet.boot(1)
        if given.step in ("all", "measure"):
            _keep(measure(fleet, given.rounds))
    finally:
        if given.step in ("all", "down"):
            fleet.remove()


def _figures(runs: Sequence[Sequence[Task]]) -> dict[str, float]:
    return {
        "tasks": _median([sum("host-1" in task.hosts for task in tasks) for tasks in runs]),
        "seconds": _median([sum(task.seconds for task in tasks) for tasks in runs]),
    }


def _median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 2)


def _has_geerlingguy() -> bool:
    """Have the role, from Galaxy if it is not there."""
    roles = CACHE / "roles"
    if not (roles / GEERLINGGUY).is_dir() and site.reaches(collections.GALAXY):
        program = Path(sys.executable).with_name("ansible-galaxy")
        subprocess.run([program, "role", "install", GEERLINGGUY, "-p", roles], check=True)
    return (roles / GEERLINGGUY).is_dir()


def _keep(result: dict[str, Table]) -> None:
    """Write the results, and print them."""
    RESULTS.write_text(json.dumps({"machine": "2 cores", **result}, indent=1) + "\n")
    print(f"| role | executed tasks | seconds |\n|---|---:|---:|\n| at most | {MOST_TASKS} | {MOST_SECONDS} |")
    for role, figures in result["roles"].items():
        print(f"| {role} | {figures['tasks']:g} | {figures['seconds']:.2f} |")
    print("\n| of | whose | executed tasks | seconds | ours to theirs |\n|---|---|---:|---:|---:|")
    pairs: dict[str, Table] = defaultdict(dict)
    for play, figures in result["peers"].items():
        of, _, whose = play.partition(": ")
        pairs[of][whose] = figures
    for of, both in pairs.items():
        for whose, figures in both.items():
            ratio = "" if whose == "ours" else f"{both['ours']['seconds'] / figures['seconds']:.2f}"
            print(f"| {of} | {whose} | {figures['tasks']:g} | {figures['seconds']:.2f} | {ratio} |")


if __name__ == "__main__":
    main()
