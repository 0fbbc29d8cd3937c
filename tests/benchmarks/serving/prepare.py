# SPDX-License-Identifier: Apache-2.0
"""Trains and registers the model that is served; run by the Python of .venv/iris in an empty folder.

Registered are `iris`, as the pipeline does it (an ONNX model), and the scikit-learn model of the same run as
`iris-sklearn`. The champion's folder is put into ./model, which is what our server takes.
"""

from __future__ import annotations

from pathlib import Path

import mlflow

from iris_model import data, pipeline, tracking
from iris_model.training import Hyperparameters

result = pipeline.run(data.load(None), Hyperparameters(), "iris", pipeline.Rule("accuracy", 0.0, 0.0))
mlflow.register_model(f"runs:/{result.run_id}/sklearn", "iris-sklearn")
folder = Path("model")
folder.mkdir()
tracking.download("models:/iris/1", folder)
