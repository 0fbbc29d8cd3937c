# SPDX-License-Identifier: Apache-2.0
"""What workflows tell GitHub, against a stand-in for its API over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stand_ins.github import GitHub, serve

from delivery import reports
from delivery.errors import DeliveryError
from delivery.github import Repository
from delivery.plan import Change, Plan
from delivery.yard import Yard

PLAN = Plan((Change("aws_instance.this", ("create",), "abc"),), "told")


@pytest.fixture
def github() -> Iterator[GitHub]:
    with serve() as one:
        yield one


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard("production", "production", tmp_path)


def test_a_comment_is_updated_not_repeated(github: GitHub) -> None:
    repository = Repository.here(github.environment())
    for number in range(150):
        github.comments.append({"id": number, "number": 7, "user": {"login": "someone"}, "body": "a long talk"})
    repository.comment(7, "plan production", "first")
    repository.comment(7, "plan staging", "another environment's")
    repository.comment(7, "plan production", "second")
    ours = github.comments_on(7)[150:]
    assert [text.splitlines()[-1] for text in ours] == ["second", "another environment's"]


def test_an_issue_opens_once_and_closes_with_the_reason(github: GitHub, yard: Yard) -> None:
    environment = github.environment() | {"GITHUB_RUN_ID": "42"}
    reports.keep(yard, "drift", reports.Report("It drifted", "this differs", wrong=True))
    reports.tell(yard, "drift", None, environment)
    reports.keep(yard, "drift", reports.Report("It drifted", "that differs too", wrong=True))
    reports.tell(yard, "drift", None, environment)
    (issue,) = github.open_issues()
    assert issue["title"] == "It drifted"
    assert "that differs too" in issue["body"]
    assert "/owner/name/actions/runs/42" in issue["body"]
    reports.keep(yard, "drift", reports.Report("It drifted", "all is well"))
    reports.tell(yard, "drift", None, environment)
    assert github.open_issues() == []
    assert "all is well" in github.comments_on(issue["number"])[0]
    # Once closed, nothing is said every night.
    said = len(github.said)
    reports.tell(yard, "drift", None, environment)
    assert len(github.said) == said


def test_the_reviewed_plan_is_the_one_in_the_comment_that_the_workflow_wrote(github: GitHub) -> None:
    repository = Repository.here(github.environment())
    github.pulls["c0ffee"] = [7]
    assert repository.reviewed_plan("c0ffee", "plan production") is None
    forged = f"<!-- modelyard: plan production -->\n{Plan().markdown('production')}"
    github.comments.append({"id": 900, "number": 7, "user": {"login": "someone"}, "body": forged})
    assert repository.reviewed_plan("c0ffee", "plan production") is None
    repository.comment(7, "plan production", PLAN.markdown("production"))
    assert repository.reviewed_plan("c0ffee", "plan production") == PLAN.digest
    assert repository.reviewed_plan("beef", "plan production") is None


def test_who_is_not_a_workflow_is_told_so(github: GitHub, yard: Yard) -> None:
    with pytest.raises(DeliveryError, match="GITHUB_TOKEN is not set"):
        Repository.here({"GITHUB_REPOSITORY": "owner/name"})
    with pytest.raises(DeliveryError, match="no report on plan: `make plan` makes one"):
        reports.tell(yard, "plan", 7, github.environment())
    with pytest.raises(DeliveryError, match=r"refuses GET .*HTTP 401.*Bad credentials"):
        Repository.here(github.environment() | {"GITHUB_TOKEN": "wrong"}).comment(7, "plan", "text")
