# SPDX-License-Identifier: Apache-2.0
"""What a verb found out, kept in the yard's state until a workflow tells GitHub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import DeliveryError
from .github import Repository
from .yard import Yard


@dataclass(frozen=True)
class Report:
    """A finding: `title` and `text` for people, `wrong` when somebody has to act on it."""

    title: str
    text: str
    wrong: bool = False


def keep(yard: Yard, what: str, report: Report) -> Path:
    """Keep a report for `tell`; return its file."""
    path = _path(yard, what)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(json.dumps(asdict(report)))
    return path


def forget(yard: Yard, what: str) -> None:
    """Remove what an earlier run kept, so that nobody is told of it again."""
    _path(yard, what).unlink(missing_ok=True)


def tell(yard: Yard, what: str, number: int | None, environment: Mapping[str, str]) -> str:
    """Tell GitHub: on pull request `number`, else in the topic's issue, which is closed once nothing is wrong.

    :return: what was done, for the log.
    :raises DeliveryError: there is no such report, or GitHub does not take it.
    """
    path = _path(yard, what)
    if not path.exists():
        raise DeliveryError(f"there is no report on {what}: `make {what}` makes one")
    report = Report(**json.loads(path.read_text()))
    repository = Repository.here(environment)
    topic = f"{what} {yard.name}"
    text = f"{report.text}\n\n{_source(environment)}".rstrip()
    if number is not None:
        repository.comment(number, topic, text)
        return f"{what}: said on #{number}"
    if report.wrong:
        repository.open_issue(topic, report.title, text)
        return f"{what}: an issue says so"
    repository.close_issue(topic, text)
    return f"{what}: nothing is wrong, no issue is open"


def _path(yard: Yard, what: str) -> Path:
    return yard.state / "reports" / f"{what}.json"


def _source(environment: Mapping[str, str]) -> str:
    """Return a link to the workflow's run."""
    run = environment.get("GITHUB_RUN_ID")
    if not run:
        return ""
    server = environment.get("GITHUB_SERVER_URL", "https://github.com")
    return f"[The run that found this]({server}/{environment['GITHUB_REPOSITORY']}/actions/runs/{run})"
