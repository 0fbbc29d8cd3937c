# SPDX-License-Identifier: Apache-2.0
"""What tests/core_env says of a Python that an ansible-core does not run on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from delivery.yard import ROOT


@pytest.mark.parametrize("core", ["2.20", "2.21"])
def test_a_python_that_is_too_old_is_refused_in_one_line(core: str, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 3.11\n")
    python.chmod(0o755)
    done = subprocess.run([ROOT / "tests/core_env", core, python], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f"✗ ansible-core {core} wants Python 3.12 or newer, and {python} is 3.11: "
        f"name one, as in CORE={core} PYTHON=python3.13\n"
    )
