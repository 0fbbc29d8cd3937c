# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The questions that a release must answer before it serves."""

from __future__ import annotations

import http.client
import typing as t
from dataclasses import dataclass

from .release_slots import State

INTERVAL = 0.1

# Seconds between two words about a release that is not ready yet.
PATIENCE = 10.0


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
        self,
        ask_slot: t.Callable[[Question, float], str | None],
        state: t.Callable[[], State],
        clock: Clock,
        tell: t.Callable[[str], None] = lambda _text: None,
    ) -> None:
        """Return when the release is ready.

        :param tell: called now and then with what is still wrong.
        :raises Failed: it is not, in time; or its container has stopped.
        """
        begun = told = clock.monotonic()
        right = 0
        while right < self.in_a_row:
            container = state()
            if not container.running:
                raise Failed(str(container))
            problem = ask_slot(self.question, self.timeout)
            right = 0 if problem else right + 1
            now = clock.monotonic()
            if problem and now >= begun + self.budget:
                raise Failed(f"{problem} (asked for {self.budget:g} s)")
            if problem and now >= told + PATIENCE:
                told = now
                tell(problem)
            if right < self.in_a_row:
                clock.sleep(INTERVAL)
