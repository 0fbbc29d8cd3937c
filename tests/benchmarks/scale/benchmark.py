# SPDX-License-Identifier: Apache-2.0
"""Measures site.yml on 1, 4 and 12 hosts: when there is nothing to do, and when only an app's code has changed.

python tests/benchmarks/scale/benchmark.py                   everything, in about 25 minutes
python tests/benchmarks/scale/benchmark.py boot 4            have 4 hosts, and bring them to where they should be
python tests/benchmarks/scale/benchmark.py measure           measure with the hosts that there are
python tests/benchmarks/scale/benchmark.py down              remove them

Writes results.json beside this file, which keeps what was not measured again, prints it as a table, and draws it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "playbooks")]

from benchmarks.scale.fleet import Fleet, Played  # noqa: E402  (the paths above are what makes them importable)
from benchmarks.scale.plot import draw  # noqa: E402
from benchmarks.transfer import samples  # noqa: E402

from delivery import images  # noqa: E402

RESULTS = Path(__file__).with_name("results.json")
PICTURE = ROOT / "collections/ansible_collections/modelyard/mlops/docs/images/scale.png"
SIZES = (1, 4, 12)
ROUNDS = 3
NOTHING = "nothing to do"
CODE = "only the app's code has changed"


@dataclass(frozen=True)
class Row:
    """What one kind of run takes on a number of hosts, the median of `rounds`.

    :ivar seconds: of the whole command.
    :ivar memory: the controller's, in MB.
    """

    run: str
    hosts: int
    rounds: int
    seconds: float
    memory: float


class Bench:
    """Hosts, and the commits that they get."""

    def __init__(self) -> None:
        self.fleet = Fleet()
        # Nobody has seen this one before, nor those that follow it.
        self._number = int(time.time())

    def measure(self, rounds: int) -> list[Row]:
        """Both kinds of run, in turn."""
        sample = samples.api()
        nothing, code = [], []
        for _ in range(rounds):
            commit = self._commit(sample)
            code.append(self.fleet.play("site.yml", commit))
            nothing.append(self.fleet.play_unchanged(commit))
        return [self._row(NOTHING, nothing), self._row(CODE, code)]

    def _commit(self, sample: samples.Sample) -> str:
        """Make the images of a commit that changes one file of the app; return its tag."""
        self._number += 1
        tag = sample.commit(self._number)[0].rpartition(":")[2]
        for image in images.SHIPPED:
            if not sample.name.startswith(image.name):
                subprocess.run(["docker", "tag", f"{image.name}:dev", f"{image.name}:{tag}"], check=True)
        return tag

    def _row(self, run: str, taken: list[Played]) -> Row:
        seconds = statistics.median(one.seconds for one in taken)
        memory = statistics.median(one.memory for one in taken)
        return Row(run, self.fleet.count, len(taken), round(seconds, 1), round(memory / 1e6))


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", nargs="?", choices=["all", "boot", "measure", "down"], default="all")
    parser.add_argument("hosts", nargs="?", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    bench = Bench()
    if given.step == "boot":
        bench.fleet.boot(given.hosts)
    if given.step == "measure":
        _keep(bench.measure(given.rounds))
    try:
        for size in SIZES if given.step == "all" else ():
            bench.fleet.boot(size)
            _keep(bench.measure(given.rounds))
    finally:
        if given.step in ("all", "down"):
            bench.fleet.remove()
            samples.forget()


def _keep(fresh: list[Row]) -> None:
    """Merge rows into the results, print all, and draw them."""
    known = [Row(**row) for row in json.loads(RESULTS.read_text())["rows"]] if RESULTS.exists() else []
    merged = {(row.run, row.hosts): row for row in [*known, *fresh]}
    rows = [merged[key] for key in sorted(merged)]
    result = {
        "machine": f"{os.cpu_count()} cores, shared by the controller and the hosts",
        "rows": list(map(asdict, rows)),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print("| run | hosts | seconds | seconds a host | controller's memory |\n|---|---:|---:|---:|---:|")
    for row in rows:
        print(f"| {row.run} | {row.hosts} | {row.seconds} | {row.seconds / row.hosts:.1f} | {row.memory:.0f} MB |")
    draw(
        {run: [(row.hosts, row.seconds, row.memory) for row in rows if row.run == run] for run in (NOTHING, CODE)},
        PICTURE,
    )


if __name__ == "__main__":
    main()
