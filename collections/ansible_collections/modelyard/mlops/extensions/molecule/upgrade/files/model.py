# SPDX-License-Identifier: Apache-2.0
"""Registers a model in an MLflow, as a training would: a run, its artifact, a version.

Usage: model.py TRACKING_URI
"""

from __future__ import annotations

import json
import sys
import urllib.request
from typing import Any

SERVER = f"{sys.argv[1]}/api/2.0"


def ask(method: str, path: str, body: bytes) -> Any:
    """Return what the server answers."""
    request = urllib.request.Request(f"{SERVER}/{path}", body, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def post(path: str, **values: Any) -> Any:
    """Return what MLflow's API answers to these values."""
    return ask("POST", f"mlflow/{path}", json.dumps(values).encode())


run = post("runs/create", experiment_id="0")["run"]["info"]
artifacts = run["artifact_uri"].partition(":/")[2]
ask("PUT", f"mlflow-artifacts/artifacts/{artifacts}/model/model.onnx", b"a model")
post("registered-models/create", name="iris")
post("model-versions/create", name="iris", run_id=run["run_id"], source=f"{run['artifact_uri']}/model")
