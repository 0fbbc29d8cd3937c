# SPDX-License-Identifier: Apache-2.0
"""Runs the levels of tests, two suites at a time, and ends with `N passed, N failed`.

python tests/run.py                    everything
python tests/run.py unit               one level: unit, molecule or e2e
python tests/run.py molecule docker    one suite of it
python tests/run.py prepare            no test: the engine and the images that the tests' hosts need
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COLLECTION = ROOT / "collections/ansible_collections/modelyard/mlops"
LOGS = ROOT / ".cache/tests"
sys.path.insert(0, str(ROOT / "playbooks"))

from delivery import engine, images  # noqa: E402  (the path above is what makes it importable)
from delivery.errors import DeliveryError  # noqa: E402
from delivery.run import Run  # noqa: E402

AT_ONCE = 2
# What pytest ends with: the tests that failed, could not begin, or were skipped, each with why.
SUMMARY = {"PYTEST_ADDOPTS": "-rfEs"}
# The release of Debian that some hosts have; the others have images.SUITE.
OTHER_DEBIAN = "trixie"
# In every secret of a scenario; see shared/playbook.py there.
CANARY = "canary_secret"
# What the unit tests must reach of each file of the collection, in percent of lines and branches.
FLOOR = 90
FLOORS = {"detached.py": 75}  # its forked process ends by os._exit, and leaves no figures


@dataclass(frozen=True)
class Outcome:
    """What a suite came to; a suite that ends badly without a failed test counts as one failure, as each flaw does.

    `failures` names what failed, as far as it has a name.
    """

    suite: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    log: Path
    failures: list[str]


@dataclass(frozen=True)
class Suite:
    """A command that tests something; `count` reads its results once it has ended, and `flaws` what it printed.

    `debian` is the release that its hosts have.
    """

    name: str
    command: list[str]
    folder: Path
    env: dict[str, str]
    count: Callable[[Path], tuple[int, int, int]]
    flaws: Callable[[Path], list[str]] = lambda _log: []
    debian: str = images.SUITE

    def run(self) -> Outcome:
        """Run it, its output in a log of its own."""
        log = LOGS / f"{self.name.replace('/', '-')}.log"
        report = log.with_suffix(".xml")
        report.unlink(missing_ok=True)
        started = time.monotonic()
        command = [word.replace("{report}", str(report)) for word in self.command]
        environment = {name: value for name, value in (os.environ | SUMMARY | self.env).items() if value}
        with log.open("w") as output:
            code = subprocess.run(
                command, cwd=self.folder, env=environment, stdout=output, stderr=subprocess.STDOUT
            ).returncode
        passed, failed, skipped = self.count(report if report.exists() else log)
        if (code != 0 and not failed) or (code == 0 and not passed):
            failed += 1
        flaws = self.flaws(log)
        seconds = time.monotonic() - started
        return Outcome(self.name, passed, failed + len(flaws), skipped, seconds, log, _failed_tests(log) + flaws)


def unit() -> Iterator[Suite]:
    """Yield the suites that need nothing but Python (and, for Terraform's, its provider)."""
    yield _pytest("unit/delivery", ROOT / "tests/unit", "playbooks")
    # pyproject.toml says how much of all of it the tests must reach, and FLOORS of each file.
    options = ["--cov", "--cov-report=term", "--cov-report=json:{report}.json"]
    collection = _pytest("unit/collection", COLLECTION / "tests/unit", "collections", options=options)
    yield replace(collection, flaws=_flaws_of_coverage)
    yield _pytest("unit/iris", ROOT / "images/iris/tests", "images/iris/src", ROOT / ".venv/iris/bin/python")


def molecule() -> Iterator[Suite]:
    """Yield a suite for each role, on hosts of its own, and some once more on hosts of another Debian."""
    names = sorted(file.parent.name for file in (COLLECTION / "extensions/molecule").glob("*/molecule.yml"))
    yield from map(_molecule, names)
    # The roles that depend most on what the distribution brings: an engine, and HAProxy.
    for name in ("docker", "ingress"):
        yield _molecule(name, OTHER_DEBIAN)


def e2e() -> Iterator[Suite]:
    """Yield the whole delivery, in a yard of its own, and what another team does, on hosts of its own."""
    outside = ROOT / "tests/e2e/outside_team"
    yield _pytest("e2e", ROOT / "tests/e2e", "playbooks", options=[f"--ignore={outside}"])
    yield _pytest("e2e/outside_team", outside, "playbooks")


# In the order in which they begin. The end-to-end suite is the longest, so the others run beside it.
LEVELS: dict[str, Callable[[], Iterator[Suite]]] = {"unit": unit, "e2e": e2e, "molecule": molecule}


def main(arguments: list[str]) -> int:
    """Run the named level, or all, or only prepare the hosts; return the exit code."""
    if arguments == ["prepare"]:
        prepare_hosts([images.SUITE])
        return 0
    if arguments and arguments[0] not in LEVELS:
        print(f"✗ {arguments[0]} is no level of tests: there is {', '.join(LEVELS)}", file=sys.stderr)
        return 2
    levels = arguments[:1] or list(LEVELS)
    suites = [suite for level in levels for suite in LEVELS[level]()]
    if arguments[1:]:
        suites = [suite for suite in suites if suite.name.split("/")[-1] in arguments[1:]]
    if not suites:
        print(f"✗ no suite {arguments[1:]} in {levels[0]}", file=sys.stderr)
        return 2
    LOGS.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    if levels != ["unit"]:
        prepare_hosts(dict.fromkeys(suite.debian for suite in suites))
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in as_completed([pool.submit(suite.run) for suite in suites]):
            outcomes.append(done.result())
            _show(outcomes[-1])
    print(f"all took {time.monotonic() - started:.0f} s")
    for outcome in outcomes:
        if outcome.failed:
            # A log that is cut off keeps its end.
            print("\n".join(f"✗ {outcome.suite}: {failure}" for failure in outcome.failures or [f"see {outcome.log}"]))
    passed, failed, skipped = (sum(getattr(one, what) for one in outcomes) for what in ("passed", "failed", "skipped"))
    if skipped:
        print(f"{skipped} skipped; the logs say why")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def prepare_hosts(debians: Iterable[str]) -> None:
    """Have the engine, the sandbox host's image of these releases, and the images that scenarios deploy."""
    run = Run(LOGS / "prepare.log")
    with run.phase("engine and images for the hosts"):
        engine.ensure(run, LOGS)
        for debian in debians:
            images.build_host(run, ROOT, debian)
        images.build(run, ROOT, "dev")


def _show(outcome: Outcome) -> None:
    mark = "✗" if outcome.failed else "✓"
    print(
        f"{mark} {outcome.suite}: {outcome.passed} passed, {outcome.failed} failed in {outcome.seconds:.0f} s", end=""
    )
    print(f", {outcome.skipped} skipped" if outcome.skipped else "", flush=True)
    if outcome.failed:
        print(f"  the end of {outcome.log}:", flush=True)
        lines = outcome.log.read_text(errors="replace").splitlines()
        print("\n".join(f"  | {line}" for line in lines[-60:]), flush=True)


def _pytest(
    name: str, folder: Path, path: str, python: Path = Path(sys.executable), options: Sequence[str] = ()
) -> Suite:
    command = [str(python), "-m", "pytest", str(folder), "-p", "no:cacheprovider", "--junit-xml={report}", *options]
    return Suite(name, command, ROOT, {"PYTHONPATH": str(ROOT / path)}, _count_junit)


def _molecule(scenario: str, debian: str = images.SUITE) -> Suite:
    usual = debian == images.SUITE
    name = scenario if usual else f"{scenario}-{debian}"
    env = {
        "NO_COLOR": "1",
        # Molecule writes a configuration of its own; the Makefile's must not win over it.
        "ANSIBLE_CONFIG": "",
        # Its own choice is by the name of the collection's folder, which is the same in every checkout.
        "MOLECULE_EPHEMERAL_DIRECTORY": str(LOGS / "molecule" / name),
    }
    if not usual:
        env["MODELYARD_HOST_IMAGE"] = f"{images.HOST.name}:{debian}"
    command = ["molecule", "test", "-s", scenario]
    return Suite(f"molecule/{name}", command, COLLECTION, env, _count_molecule, _flaws_of_molecule, debian)


def _count_junit(report: Path) -> tuple[int, int, int]:
    if report.suffix != ".xml":
        return 0, 0, 0
    suite = next(ElementTree.parse(report).iter("testsuite"))
    total, skipped = int(suite.attrib["tests"]), int(suite.attrib["skipped"])
    failed = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
    return total - failed - skipped, failed, skipped


def _count_molecule(log: Path) -> tuple[int, int, int]:
    """Count a scenario's steps that succeeded as one test, and testinfra's as what they are."""
    text = log.read_text(errors="replace")
    found = {
        word: sum(map(int, re.findall(rf"(\d+) {word}s?\b.* in [\d.]+s", text)))
        for word in ("passed", "failed", "error", "skipped")
    }
    completed = "failed=0" in text.rpartition("SCENARIO RECAP")[2] if "SCENARIO RECAP" in text else False
    return found["passed"] + completed, found["failed"] + found["error"], found["skipped"]


def _failed_tests(log: Path) -> list[str]:
    """Name the tests that failed, as pytest does at its end: each with what is wrong."""
    return re.findall(r"^(?:FAILED|ERROR) ([^\s-].+)", log.read_text(errors="replace"), re.MULTILINE)


def _flaws_of_coverage(log: Path) -> list[str]:
    """Name each file of which the tests reach too little; a run that wrote no figures has failed anyway."""
    report = log.with_suffix(".xml.json")
    files = json.loads(report.read_text())["files"] if report.exists() else {}
    reached = {Path(name): file["summary"]["percent_covered"] for name, file in files.items()}
    floors = {file: FLOORS.get(file.name, FLOOR) for file in reached}
    return [
        f"{file.name}: {reached[file]:.1f} % covered, and {floors[file]} are wanted"
        for file in reached
        if reached[file] < floors[file]
    ]


def _flaws_of_molecule(log: Path) -> list[str]:
    """Name each line with which Ansible says that something will go, or that has one of the scenario's secrets."""
    lines = enumerate(log.read_text(errors="replace").splitlines(), 1)
    return [
        f"{log.name}:{number}: {line.strip()}"
        for number, line in lines
        if line.lstrip().startswith("[DEPRECATION WARNING]") or CANARY in line
    ]


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except DeliveryError as error:
        print(f"✗ {error}", file=sys.stderr)
        sys.exit(1)
