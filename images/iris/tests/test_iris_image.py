# SPDX-License-Identifier: Apache-2.0
"""The images: what the one that serves carries."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1]


def test_the_api_image_has_the_modules_that_serving_imports_and_no_others() -> None:
    program = "import sys, iris_model.cli, iris_model.serving.server; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(FOLDER / "src")}
    command = [sys.executable, "-c", program]
    loaded = set(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split())
    modules = {name.split(".")[1] for name in loaded if name.startswith("iris_model.")}
    dockerfile = (FOLDER / "Dockerfile").read_text("utf-8")
    stage = dockerfile.partition("AS api-code\n")[2].partition("\n\n")[0]
    copied = set(re.findall(r"src/iris_model/(\w+)", stage))
    assert copied == modules | {"__init__", "__main__"}
    assert not {"sklearn", "mlflow", "onnx", "onnxruntime"} & loaded
