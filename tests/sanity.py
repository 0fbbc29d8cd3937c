# SPDX-License-Identifier: Apache-2.0
"""Runs `ansible-test sanity` on the collection: all of it, or the tests named. It knows no exception: no ignore file.

python tests/sanity.py                      all, on every supported Python that is on PATH, or that pyenv or uv has
python tests/sanity.py quick                without what takes minutes: pylint, and import on more Pythons than this
python tests/sanity.py pep8 yamllint        these
python tests/sanity.py --all-pythons        a supported Python that is missing is a failure, not only named at the end

Each test gets an environment of its own by ansible-test, kept in .cache/sanity.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COLLECTION = ROOT / "collections/ansible_collections/modelyard/mlops"
HOME = ROOT / ".cache/sanity"
SLOW = ("import", "pylint")
# An environment's first pip; ansible-test would download it from where a company's machine does not get to.
PIP = "import ensurepip\n\nensurepip.bootstrap()\n"
ALL_PYTHONS = "--all-pythons"
# What ansible-test only warns of: a test that the lack of a Python, or of what it needs, left out.
LEFT_OUT = re.compile(
    r'Skipping sanity test "([^"]+)".* on Python ([\d.]+\d)(?: because it could not be found| due to missing|\.$)'
)


def main(words: list[str]) -> int:
    """Run the tests; return the exit code."""
    command = [str(Path(sys.executable).with_name("ansible-test")), "sanity", "--local", "--color", "no"]
    named = [word for word in words if word != ALL_PYTHONS]
    runs = [[f"--test={word}" for word in named]]
    if named == ["quick"]:
        this = f"--python={sys.version_info.major}.{sys.version_info.minor}"
        runs = [[f"--skip-test={test}" for test in SLOW], ["--test=import", this]]
    environment = _environment()
    ended = [_run([*command, *run], environment) for run in runs]
    left_out = sorted({test for _code, tests in ended for test in tests})
    refused = bool(left_out) and ALL_PYTHONS in words
    if left_out:
        print(f"{'✗' if refused else '▸'} not tested, for lack of a usable Python: {', '.join(left_out)}")
    return 1 if refused or any(code != 0 for code, _tests in ended) else 0


def _run(command: list[str], environment: dict[str, str]) -> tuple[int, set[str]]:
    """Run ansible-test, its output shown; return its exit code, and what it left out."""
    left_out = set()
    with subprocess.Popen(
        command, cwd=COLLECTION, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if found := LEFT_OUT.search(line):
                left_out.add(f"{found[1]} on {found[2]}")
    return process.returncode, left_out


def _environment() -> dict[str, str]:
    """Return an environment with a home of its own, the tools first on PATH, and each Python that pyenv or uv has."""
    cache = HOME / ".ansible/test/cache"
    cache.mkdir(parents=True, exist_ok=True)
    (cache / f"get_pip_{_pip_version()}.py").write_text(PIP)
    for shared in (".config", ".cache"):  # pip finds its configuration and its cache where the user has them
        if not (HOME / shared).is_symlink():
            (HOME / shared).symlink_to(Path.home() / shared)
    places = [str(Path(sys.executable).parent)]
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=True).stdout.strip()
        places += map(str, sorted(Path(root).glob("versions/3.*/bin")))
    if uv := shutil.which("uv"):
        folder = subprocess.run([uv, "python", "dir"], capture_output=True, text=True, check=True).stdout.strip()
        places += map(str, sorted(Path(folder).glob("cpython-3.*/bin")))
    places += filter(_has_working_pythons, os.environ["PATH"].split(os.pathsep))
    environment = {**os.environ, "HOME": str(HOME), "PATH": os.pathsep.join(places)}
    environment.pop("ANSIBLE_CONFIG", None)
    return environment


def _has_working_pythons(folder: str) -> bool:
    """Say whether no Python of a folder fails, as pyenv's stand-ins do for versions that are not chosen here."""
    pythons = [path for path in Path(folder or ".").glob("python3.*") if re.fullmatch(r"python3\.\d+", path.name)]
    return all(subprocess.run([path, "-c", ""], capture_output=True).returncode == 0 for path in pythons)


def _pip_version() -> str:
    """Return the version of the first pip as ansible-test spells it in its cache: 24_2."""
    package = importlib.util.find_spec("ansible_test")
    folders = (package.submodule_search_locations if package else None) or []
    source = "".join(Path(folder, "_internal/python_requirements.py").read_text() for folder in folders)
    found = re.search(r"pip='([\d.]+)'", source)
    return found[1].replace(".", "_") if found else "unknown"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
