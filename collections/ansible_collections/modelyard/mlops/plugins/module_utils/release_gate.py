# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The questions that a release must answer: before it serves, and while it begins to."""

from __future__ import annotations

import http.client
import typing as t
from dataclasses import dataclass

from .haproxy import Load
from .release_slots import State

INTERVAL = 0.2

# The watch ends badly after this many wrong answers in a row: one may be the machine's bad moment.
WRONG_IN_A_ROW = 3

# Fewer failed requests than this say nothing about a rate.
ERRORS_THAT_COUNT = 5


class Failed(Exception):
    """A release did not pass; the message says what was seen."""


class Clock(t.Protocol):
    """The part of the `time` module that is used here; a test brings its own."""

    def monotonic(self) -> float:
        """Seconds since some moment."""

    def sleep(self, seconds: float, /) -> None:
        """Wait."""


@dataclass(frozen=True)
class Question:
    """A request and the answer that is right."""

    path: str
    status: int = 200
    contains: str = ""
    method: str = "GET"
    body: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


# Puts a question to a port, and returns what is wrong with the answer, or None.
Ask = t.Callable[[int, Question, float], t.Optional[str]]


def ask(port: int, question: Question, timeout: float) -> str | None:
    """Put a question to a loopback port; return what is wrong with the answer, or None."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    headers = {"User-Agent": "modelyard", "Connection": "close"}
    if question.body:
        headers["Content-Type"] = "application/json"
    try:
        connection.request(question.method, question.path, question.body or None, headers)
        answer = connection.getresponse()
        text = answer.read(1024**2).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"{question} on port {port} was not answered: {str(error) or type(error).__name__}"
    finally:
        connection.close()
    if answer.status != question.status:
        return f"{question} on port {port} answered {answer.status} instead of {question.status}: {text.strip()[:200]}"
    if question.contains not in text:
        return f"{question} on port {port} does not contain {question.contains!r}: {text.strip()[:200]}"
    return None


@dataclass(frozen=True)
class Gate:
    """When a release is ready: `in_a_row` right answers, within `budget` seconds."""

    question: Question
    in_a_row: int
    budget: float
    timeout: float

    @classmethod
    def from_options(cls, options: dict[str, t.Any]) -> Gate:
        """Build it from the option `gate` of the module."""
        question = Question(options["path"], options["status"], options["contains"])
        return cls(question, options["in_a_row"], options["budget"], options["timeout"])

    def pass_through(
        self, ask_slot: t.Callable[[Question, float], str | None], state: t.Callable[[], State], clock: Clock
    ) -> None:
        """Return when the release is ready.

        :raises Failed: it is not, in time; or its container has stopped.
        """
        deadline = clock.monotonic() + self.budget
        right = 0
        while right < self.in_a_row:
            container = state()
            if not container.running:
                raise Failed(str(container))
            problem = ask_slot(self.question, self.timeout)
            right = 0 if problem else right + 1
            if problem and clock.monotonic() >= deadline:
                raise Failed(f"{problem} (asked for {self.budget:g} s)")
            if right < self.in_a_row:
                clock.sleep(INTERVAL)


@dataclass(frozen=True)
class Watch:
    """How long a release that has just begun to serve is watched, and what share of failed requests it may have."""

    seconds: float
    max_error_percent: float

    def pass_through(
        self,
        ask_ingress: t.Callable[[], str | None],
        state: t.Callable[[], State],
        load: t.Callable[[], Load],
        clock: Clock,
    ) -> None:
        """Return when the time is over.

        :raises Failed: the release does not serve well through the ingress.
        """
        before = load()
        wrong = 0
        deadline = clock.monotonic() + self.seconds
        while clock.monotonic() < deadline:
            problem = ask_ingress()
            wrong = wrong + 1 if problem else 0
            if problem and wrong >= WRONG_IN_A_ROW:
                raise Failed(f"behind the ingress, {problem}")
            container = state()
            if not container.running:
                raise Failed(str(container))
            self._compare(before, load())
            clock.sleep(INTERVAL)

    def _compare(self, before: Load, after: Load) -> None:
        errors, requests = after.errors - before.errors, after.requests - before.requests
        if errors >= ERRORS_THAT_COUNT and errors * 100 > requests * self.max_error_percent:
            raise Failed(
                f"{errors} of {requests} requests failed after the switch, and {self.max_error_percent:g} % may"
            )
