# SPDX-License-Identifier: Apache-2.0
"""Schemathesis, with all its checks on right and on wrong data, finds nothing in a running service."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


def test_schemathesis_finds_nothing(server: tuple[subprocess.Popen[bytes], int], tmp_path: Path) -> None:
    _, port = server
    schemathesis = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIGURATION)]
    done = subprocess.run(
        [
            *schemathesis,
            "run",
            f"http://127.0.0.1:{port}/openapi.json",
            "--checks=all",
            "--mode=all",
            "--phases=examples,coverage,fuzzing",
            "--max-examples=50",
            "--generation-deterministic",
            "--no-color",
        ],
        cwd=tmp_path,  # where it keeps what it has found
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
    )
    report = done.stdout[:20_000] + done.stderr
    assert done.returncode == 0, report
    assert "Selected: 7/7" in report
    assert "No issues found" in report
