# SPDX-License-Identifier: Apache-2.0
"""Measures image_transfer beside `docker save | zstd | ssh docker load`, in one run, on hosts of its own.

python tests/benchmarks/transfer/benchmark.py                     everything, in about 20 minutes
python tests/benchmarks/transfer/benchmark.py first noop          some measures of it
python tests/benchmarks/transfer/benchmark.py --images api        only with the API's image

Writes results.json beside this file, which keeps what was not measured again, and prints it as a table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import typing as t
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "playbooks")]

from benchmarks.transfer import hosts as bodies  # noqa: E402  (the paths above are what makes them importable)
from benchmarks.transfer import samples, ways  # noqa: E402
from benchmarks.transfer.hosts import Host  # noqa: E402
from benchmarks.transfer.samples import Sample  # noqa: E402

from delivery import engine, images  # noqa: E402
from delivery.run import Run  # noqa: E402

RESULTS = Path(__file__).with_name("results.json")
FLEET = 8
SLOW_LINK = "20mbit"


@dataclass(frozen=True)
class Row:
    """A figure: ours, what it is compared with, their ratio and what the ratio (or ours) must be."""

    figure: str
    image: str
    unit: str
    ours: float
    other: float | None
    ratio: float | None
    wanted: str


@dataclass(frozen=True)
class Bench:
    """What a measure works with. Numbers of commits are never used twice."""

    hosts: Sequence[Host]
    folder: Path
    repeats: int
    numbers: Iterator[int]

    @property
    def host(self) -> Host:
        """The host of those measures that need one."""
        return self.hosts[0]

    def role(self, image: str, hosts: int = 1, cache: str = "cache", memory: bool = False) -> ways.Taken:
        """Bring `image` to the first `hosts` hosts by the role."""
        return ways.role(image, self.hosts[:hosts], self.folder, cache, memory)

    def cold_cache(self) -> str:
        """The name of a cache in which nothing is."""
        shutil.rmtree(self.folder / "cold", ignore_errors=True)
        return "cold"


def first(bench: Bench, name: str, sample: Sample) -> list[Row]:
    """The host has nothing, and neither has the controller's cache."""
    role, pipe = [], []
    for _ in range(bench.repeats):
        bench.host.forget()
        pipe.append(ways.pipe(sample.name, bench.host))
        bench.host.forget()
        role.append(bench.role(sample.name, cache=bench.cold_cache()))
    return [
        _compare("first transfer", name, "s", _seconds(role), _seconds(pipe), "≤ 1.1"),
        _compare("first transfer, on the wire", name, "B", _wire(role), _wire(pipe), ""),
    ]


def change(bench: Bench, name: str, sample: Sample) -> list[Row]:
    """Only the code has changed; the link is as fast as the machine."""
    bench.role(sample.name)
    role, pipe, smallest = _changes(bench, sample, bench.repeats)
    sent = statistics.median(one.sent for one in role)
    return [
        _compare("code-only change, of the image", name, "B", sent, statistics.median(smallest), "≤ 1.3"),
        _compare("code-only change, on the wire", name, "B", _wire(role), statistics.median(smallest), "≤ 1.3"),
        _compare("pipe's bytes to ours of the image", name, "B", _wire(pipe), sent, "≥ 1000"),
        _compare("pipe's bytes to ours on the wire", name, "B", _wire(pipe), _wire(role), "≥ 1000"),
        _compare("pipe's seconds to ours", name, "s", _seconds(pipe), _seconds(role), "≥ 4"),
    ]


def slow(bench: Bench, name: str, sample: Sample) -> list[Row]:
    """Only the code has changed, and the link is slow."""
    bench.role(sample.name)
    with bench.host.link(SLOW_LINK):
        role, pipe, _ = _changes(bench, sample, 3)
    return [_compare(f"pipe's seconds to ours, {SLOW_LINK}", name, "s", _seconds(pipe), _seconds(role), "≥ 50")]


def noop(bench: Bench, name: str, sample: Sample) -> list[Row]:
    """The image is there."""
    bench.role(sample.name)
    runs = [bench.role(sample.name) for _ in range(5)]
    return [
        Row("no-op", name, "s", round(_seconds(runs), 2), None, None, "≤ 2 s"),
        Row("no-op, on the wire", name, "B", _wire(runs), None, None, ""),
    ]


def fleet(bench: Bench, name: str, sample: Sample) -> list[Row]:
    """Only the code has changed, for one host and for many."""
    bench.role(sample.name, len(bench.hosts))
    one, many = [], []
    for _ in range(bench.repeats):
        one.append(bench.role(sample.commit(next(bench.numbers))[0]))
        many.append(bench.role(sample.commit(next(bench.numbers))[0], len(bench.hosts)))
    figure = f"code-only change, {len(bench.hosts)} hosts to 1"
    return [_compare(figure, name, "s", _seconds(many), _seconds(one), "≤ 3")]


def memory(bench: Bench, name: str, sample: Sample) -> list[Row]:
    """The controller's memory in a first transfer."""
    bench.host.forget()
    taken = bench.role(sample.name, cache=bench.cold_cache(), memory=True)
    idle = bench.role(sample.name, memory=True)
    return [
        _compare("controller's memory, to that of a no-op", name, "B", taken.memory, idle.memory, ""),
        Row("controller's memory", name, "B", taken.memory, None, None, "≤ 150 MB"),
    ]


MEASURES: dict[str, Callable[[Bench, str, Sample], list[Row]]] = {
    one.__name__: one for one in (first, change, slow, noop, fleet, memory)
}
SAMPLES: dict[str, Callable[[], Sample]] = {"api": samples.api, "gigabyte": samples.gigabyte}


def main() -> None:
    """Measure what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measures", nargs="*", metavar="|".join(MEASURES), help="all when none is named")
    parser.add_argument("--images", nargs="+", choices=SAMPLES, default=list(SAMPLES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="keep the prepared host's image for the next run")
    given = parser.parse_args()
    measures = given.measures or list(MEASURES)
    if unknown := set(measures) - set(MEASURES):
        parser.error(f"no such measure: {', '.join(sorted(unknown))}")
    _prepare()
    with tempfile.TemporaryDirectory(prefix="transfer-benchmark-") as folder:
        try:
            with bodies.booted(FLEET if "fleet" in measures else 1, Path(folder)) as hosts:
                bench = Bench(hosts, Path(folder), given.repeats, itertools.count(1))
                for image in given.images:
                    sample = SAMPLES[image]()
                    for measure in measures:
                        _keep(MEASURES[measure](bench, image, sample))
        finally:
            samples.forget()
            if not given.keep:
                bodies.forget_prepared()


def _prepare() -> None:
    """Have the engine, and the images of a host and of the API."""
    run = Run(ROOT / ".cache/tests/benchmark-transfer.log")
    engine.ensure(run, ROOT / ".cache/tests")
    images.build_host(run, ROOT)
    images.build(run, ROOT, "dev")


def _changes(bench: Bench, sample: Sample, repeats: int) -> tuple[list[ways.Taken], list[ways.Taken], list[int]]:
    """Commits brought by the role and by the pipe, and the bytes of their changed layers in the smallest way."""
    role, pipe, smallest = [], [], []
    for _ in range(repeats):
        commit, code = sample.commit(next(bench.numbers))
        role.append(bench.role(commit))
        smallest.append(len(subprocess.run(["zstd", "-19", "-qc"], input=code, check=True, capture_output=True).stdout))
        pipe.append(ways.pipe(sample.commit(next(bench.numbers))[0], bench.host))
    return role, pipe, smallest


def _seconds(runs: Sequence[ways.Taken]) -> float:
    return statistics.median(one.seconds for one in runs)


def _wire(runs: Sequence[ways.Taken]) -> float:
    return statistics.median(one.wire for one in runs)


def _compare(figure: str, image: str, unit: str, ours: float, other: float, wanted: str) -> Row:
    return Row(figure, image, unit, round(ours, 2), round(other, 2), round(ours / other, 2), wanted)


def _keep(rows: Sequence[Row]) -> None:
    """Merge `rows` into the results, and print them."""
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    fresh = {(row.figure, row.image): asdict(row) for row in rows}
    merged = {**{(old["figure"], old["image"]): old for old in known}, **fresh}
    RESULTS.write_text(json.dumps(list(merged.values()), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for row in rows:
        print(_line(row), flush=True)


def _line(row: Row) -> str:
    values = [_amount(row.ours, row.unit), "" if row.other is None else _amount(row.other, row.unit)]
    ratio = "" if row.ratio is None else f"{row.ratio:,.2f}"
    return "| " + " | ".join([row.figure, row.image, *values, ratio, row.wanted]) + " |"


def _amount(value: float, unit: t.Literal["s", "B"] | str) -> str:
    return f"{value:.2f} s" if unit == "s" else f"{value:,.0f} B"


if __name__ == "__main__":
    main()
