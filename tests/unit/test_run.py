# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from delivery.errors import DeliveryError
from delivery.run import Run
from delivery.yard import ROOT


def test_output_goes_into_the_log_and_the_clock_runs(tmp_path: Path) -> None:
    screen = io.StringIO()
    run = Run(tmp_path / "delivery.log", screen)
    with run.phase("images"):
        code, lines = run.command([sys.executable, "-c", "print('one'); print('two')"])
    assert (code, lines) == (0, ["one", "two"])
    assert "one\ntwo\n" in (tmp_path / "delivery.log").read_text()
    assert "▸ images" in screen.getvalue()
    assert "done in" in screen.getvalue()
    assert run.durations["images"] > 0


def test_a_failure_names_the_phase_the_command_and_its_last_lines(tmp_path: Path) -> None:
    run = Run(tmp_path / "delivery.log", io.StringIO())
    script = "[print(f'line {n}') for n in range(100)]; raise SystemExit(3)"
    with pytest.raises(DeliveryError) as failed, run.phase("site"):
        run.command([sys.executable, "-c", script])
    message = str(failed.value)
    assert message.startswith("site: ")
    assert "exit code 3" in message
    assert "line 99" in message
    assert "line 10\n" not in message
    assert str(tmp_path / "delivery.log") in message


def test_an_expected_exit_code_is_no_failure(tmp_path: Path) -> None:
    run = Run(tmp_path / "delivery.log", io.StringIO())
    assert run.command([sys.executable, "-c", "raise SystemExit(2)"], expect=(0, 2)) == (2, [])


def test_status_lines_are_rare_where_nobody_can_rewrite_them(tmp_path: Path) -> None:
    screen = io.StringIO()
    run = Run(tmp_path / "delivery.log", screen)
    with run.phase("site"):
        for number in range(1000):
            run.status(f"task {number}")
    assert "task" not in screen.getvalue()


def test_an_interrupted_child_is_interrupted_once_and_waited_for(tmp_path: Path) -> None:
    """A child that needs a moment to let go of its lock gets it, and is told to stop only once."""
    script = tmp_path / "child.py"
    script.write_text(
        "import signal, sys, time, pathlib\n"
        "seen = []\n"
        "signal.signal(signal.SIGINT, lambda *_: seen.append(1))\n"
        f"place = pathlib.Path({str(tmp_path)!r})\n"
        "(place / 'ready').touch()\n"
        "while not seen: time.sleep(0.01)\n"
        "time.sleep(0.5)\n"
        "(place / 'interrupts').write_text(str(len(seen)))\n"
    )
    parent = (
        "import sys; from pathlib import Path; from delivery.run import Run\n"
        "Run(Path(sys.argv[1]) / 'log').command([sys.executable, sys.argv[2]])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", parent, str(tmp_path), str(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "playbooks")},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 10
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < deadline, "the child did not start"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    process.wait(10)
    assert (tmp_path / "interrupts").read_text() == "1"
