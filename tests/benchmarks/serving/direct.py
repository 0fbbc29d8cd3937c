# SPDX-License-Identifier: Apache-2.0
"""Says how many batches a second ONNX Runtime answers in process, one thread; run by the Python of .venv/iris.

python direct.py MODEL_FOLDER SECONDS   (reads a query from standard input)
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from iris_model.model import Model

model, seconds = Model.load(Path(sys.argv[1])), float(sys.argv[2])
rows = np.array(json.load(sys.stdin)["features"], np.float32)
begin, batches = time.perf_counter(), 0
while time.perf_counter() - begin < seconds:
    model.predict(rows)
    batches += 1
print(batches / (time.perf_counter() - begin))
