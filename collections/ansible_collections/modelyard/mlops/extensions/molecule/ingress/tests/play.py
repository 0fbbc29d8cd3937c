# SPDX-License-Identifier: Apache-2.0
"""Runs the scenario's playbook with other variables."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any


def play(**variables: Any) -> subprocess.CompletedProcess[str]:
    """Run it; its output is in one piece, and in one line, as errors are wrapped."""
    playbook = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]) / "converge.yml"
    inventory = os.environ["MOLECULE_INVENTORY_FILE"]
    command = ["ansible-playbook", "-i", inventory, str(playbook), "-e", json.dumps(variables)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    done.stdout = " ".join(done.stdout.split())
    return done


def converge(**variables: Any) -> str:
    done = play(**variables)
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def refused(**variables: Any) -> str:
    done = play(**variables)
    assert done.returncode != 0, done.stdout[-4000:]
    return done.stdout


def executed(output: str) -> int:
    """How many tasks ran, by the recap."""
    recap = re.search(r"ok=(\d+)", output)
    assert recap
    return int(recap[1])
