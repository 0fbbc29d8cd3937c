# SPDX-License-Identifier: Apache-2.0
"""GitHub's part on this machine: a bare remote, and each push to main delivered by the real workflow file."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from stand_ins import act
from stand_ins.github import GitHub

# What a runner of one's own keeps from job to job: the tools, and the state of its yards.
KEPT = (".ansible", ".cache", ".modelyard", ".venv")


class Forge:
    """A remote, a clone that a person works in, and a runner that takes one delivery after the other.

    :param source: the repository whose HEAD the remote starts with; its tools and state are the runner's.
    :param settings: what makes the yard this one, as environment variables.
    """

    def __init__(self, source: Path, folder: Path, github: GitHub, settings: Mapping[str, str]) -> None:
        self.work = folder / "work"
        self._remote = folder / "remote.git"
        self._folder = folder
        self._source = source
        self._github = github
        self._settings = settings
        self._runner = ThreadPoolExecutor(1)
        self._lock = threading.Lock()
        self._count = 0
        _git(folder, "clone", "--quiet", "--bare", source, self._remote)
        _git(self._remote, "branch", "--force", "main", "HEAD")
        _git(folder, "clone", "--quiet", "--branch", "main", self._remote, self.work)
        for name, value in (("user.name", "A Person"), ("user.email", "person@example.com")):
            _git(self.work, "config", name, value)

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text in a file of the working clone, where it comes first."""
        file = self.work / path
        text = file.read_text()
        assert old in text, f"{path} does not hold {old!r}"
        file.write_text(text.replace(old, new, 1))

    def commit(self, message: str) -> None:
        """Commit what the person has changed in the working clone."""
        _git(self.work, "commit", "--quiet", "--all", "--message", message)

    def revert(self, count: int = 1) -> None:
        """Take the last commits back, as a person does."""
        _git(self.work, "revert", "--no-edit", f"HEAD~{count}..HEAD")

    def push(self) -> Future[act.Job]:
        """Push main. The job starts when those before it have ended, as a concurrency group makes it."""
        _git(self.work, "push", "--quiet", "origin", "main")
        commit = _git(self.work, "rev-parse", "HEAD")
        return self._runner.submit(self._deliver, commit)

    def delivered(self) -> act.Job:
        """Push main and wait until it is delivered, or has failed."""
        return self.push().result()

    def propose(self, number: int, *, job: str = "plan") -> act.Job:
        """Open a pull request with the last commit, and wait until it is planned or, as another job, previewed."""
        _git(self.work, "push", "--quiet", "origin", f"HEAD:pull-{number}")
        commit = _git(self.work, "rev-parse", "HEAD")
        self._github.pulls[commit] = [number]
        repository = {"full_name": "owner/name"}
        details = {"pull_request": {"number": number, "head": {"repo": repository}}, "repository": repository}
        clone = self._check_out(commit)
        return act.run(
            clone,
            "plan.yml",
            "pull_request",
            clone.parent,
            self._github,
            settings=self._settings,
            details=details,
            job=job,
        )

    def _deliver(self, commit: str) -> act.Job:
        clone = self._check_out(commit)
        return act.run(clone, "deliver.yml", "push", clone.parent, self._github, settings=self._settings)

    def _check_out(self, commit: str) -> Path:
        """Clone the remote for a job, as its checkout would, with what a runner of one's own keeps."""
        with self._lock:
            self._count += 1
            clone = self._folder / f"job-{self._count}" / "clone"
        _git(self._folder, "clone", "--quiet", self._remote, clone)
        _git(clone, "checkout", "--quiet", "-B", "main", commit)
        # The tools were made for these requirements: a fresh checkout is no reason to install them anew.
        for name in _git(clone, "ls-files").splitlines():
            os.utime(clone / name, (0, 0))
        for name in KEPT:
            (clone / name).symlink_to(self._source / name)
        return clone


def _git(folder: Path, *arguments: str | Path) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
