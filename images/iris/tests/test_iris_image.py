# SPDX-License-Identifier: Apache-2.0
"""The images: what each carries."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from iris_model import cli

FOLDER = Path(__file__).resolve().parents[1]


def modules_loaded_by(*names: str) -> set[str]:
    program = f"import sys, {', '.join(names)}; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(FOLDER / "src")}
    command = [sys.executable, "-c", program]
    return set(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split())


def test_the_training_image_needs_nothing_of_serving() -> None:
    loaded = modules_loaded_by("iris_model.cli", "iris_model.pipeline", "iris_model.prediction")
    assert "iris_model.training" in loaded
    assert "iris_model.serving" not in loaded


def test_the_api_image_has_the_modules_that_serving_imports_and_no_others() -> None:
    loaded = modules_loaded_by("iris_model.cli", "iris_model.serving.server")
    modules = {name.split(".")[1] for name in loaded if name.startswith("iris_model.")}
    dockerfile = (FOLDER / "Dockerfile").read_text("utf-8")
    stage = dockerfile.partition("AS api-code\n")[2].partition("\n\n")[0]
    copied = set(re.findall(r"src/iris_model/(\w+)", stage))
    assert copied == modules | {"__init__", "__main__"}
    assert not {"sklearn", "mlflow", "onnx", "onnxruntime"} & loaded


def test_a_command_of_the_other_image_says_so_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "iris_model.serving", None)
    assert cli.main(["serve"]) == 1
    assert "iris_model.serving" in (said := capsys.readouterr().err)
    assert said.count("\n") == 1
