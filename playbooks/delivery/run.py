# SPDX-License-Identifier: Apache-2.0
"""Phases with a clock: what a person sees while a delivery runs, and the log of everything."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from .errors import DeliveryError

# Where there is no terminal to rewrite a line on, a status is printed at most this often, in seconds.
STATUS_INTERVAL = 10.0
LAST_LINES = 25


class Run:
    """One delivery: shows phases as they go, and writes all output into one log.

    :param log: the file that everything is appended to.
    :param screen: where a person looks.
    """

    def __init__(self, log: Path, screen: TextIO = sys.stdout) -> None:
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = log
        self.durations: dict[str, float] = {}
        self._log = log.open("a", buffering=1)
        self._screen = screen
        self._last_status = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase. A failure inside it is told with the phase's name and the log's place."""
        self.write(f"=== {time.strftime('%Y-%m-%d %H:%M:%S')} {name}")
        self.say(f"▸ {name}")
        started = self._last_status = time.monotonic()
        try:
            yield
        except DeliveryError as error:
            raise DeliveryError(f"{name}: {error}\nThe log of everything is {self.path}") from error
        self.durations[name] = time.monotonic() - started
        self._clear()
        self.say(f"  done in {self.durations[name]:.0f} s")

    def say(self, text: str) -> None:
        """Print a line for the person."""
        self._clear()
        print(text, file=self._screen, flush=True)

    def write(self, line: str) -> None:
        """Append a line to the log."""
        self._log.write(line.rstrip("\n") + "\n")

    def status(self, text: str) -> None:
        """Show what is going on right now: rewritten on a terminal, now and then elsewhere."""
        if self._screen.isatty():
            print(f"\r\033[K  {text[:100]}", end="", file=self._screen, flush=True)
        elif time.monotonic() - self._last_status >= STATUS_INTERVAL:
            self._last_status = time.monotonic()
            print(f"  … {text}", file=self._screen, flush=True)

    def command(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        status: Callable[[str], str | None] = lambda line: line,
        expect: Sequence[int] = (0,),
    ) -> tuple[int, list[str]]:
        """Run a command, its output into the log and through `status` onto the screen.

        :param env: the command's whole environment, when it is not this process's.
        :param status: what to show for a line of output; None keeps what is shown.
        :param expect: the exit codes that are no failure.
        :return: the exit code and the lines printed.
        :raises DeliveryError: another exit code; carries the last lines.
        """
        lines: list[str] = []
        process = subprocess.Popen(
            [str(word) for word in argv],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # A session of its own: a Ctrl-C reaches the child once, by us, and not a second time from the
            # terminal, which Terraform would take as the order to drop everything.
            start_new_session=True,
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                self.write(line)
                lines.append(line.rstrip("\n"))
                shown = status(line.strip())
                if shown:
                    self.status(shown)
            code = process.wait()
        except KeyboardInterrupt:
            _let_it_clean_up(process)
            raise
        if code not in expect:
            words = " ".join(str(word) for word in argv[:3])
            last = "\n".join(deque(lines, maxlen=LAST_LINES))
            raise DeliveryError(f"`{words} …` ended with exit code {code}; its last lines:\n{last}")
        return code, lines

    def _clear(self) -> None:
        if self._screen.isatty():
            print("\r\033[K", end="", file=self._screen, flush=True)


def _let_it_clean_up(process: subprocess.Popen[str], patience: float = 20.0) -> None:
    """Pass an interruption on and wait until the child has let go of its locks; then end it."""
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
