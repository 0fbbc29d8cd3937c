# SPDX-License-Identifier: Apache-2.0
"""What a person wants to know when a delivery has ended, asked from what runs rather than remembered."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from .site import Places
from .yard import Yard

MODEL = "iris"
TIMEOUT = 10.0
NO_GRAFANA = " (no server: its packages cannot be had here; configuration and dashboards are in place)"
EXAMPLE = '{"features": [[5.1,3.5,1.4,0.2]]}'


@dataclass(frozen=True)
class Served:
    """The model version that answers, and the accuracy that its training run recorded for it."""

    model: str
    version: str
    release: str
    accuracy: float | None
    grafana: bool


def served(places: Places, yard: Yard) -> Served:
    """Ask the API which model answers, and MLflow how good it was in training.

    :raises OSError: the API does not answer.
    """
    answer = get(f"http://{places.app}/version")
    password = yaml.safe_load(yard.secrets.read_text())["modelyard_admin_password"] if yard.secrets.exists() else ""
    version = str(answer["model_version"])
    try:
        accuracy = _accuracy(f"https://{places.tracking}/mlflow", answer["model"], version, password)
    except (OSError, KeyError, StopIteration):
        accuracy = None
    return Served(
        answer["model"],
        version,
        str(answer["release"]),
        accuracy,
        _answers(f"https://{places.monitoring}/grafana/api/health", password),
    )


def text(yard: Yard, places: Places, found: Served, durations: Mapping[str, float], changed: int | None) -> str:
    """Return the summary: where everything is, what serves, how long it took, and what to do next."""
    accuracy = f", accuracy {found.accuracy:.3f} in cross-validation" if found.accuracy is not None else ""
    suffix = "" if yard.name == "rehearsal" else f" YARD={yard.name}"
    lines = [
        "",
        f"{yard.name} is up: {found.model} version {found.version} serves as release {found.release}{accuracy}",
        *([] if changed is None else [f"({changed} task{'s' * (changed != 1)} changed something on the hosts)"]),
        "",
        f"  API         http://{places.app}/",
        f"  MLflow      https://{places.tracking}/mlflow/",
        f"  Prometheus  https://{places.monitoring}/prometheus/",
        f"  Alerts      https://{places.monitoring}/alertmanager/",
        f"  Grafana     https://{places.monitoring}/grafana/" + ("" if found.grafana else NO_GRAFANA),
        f"  Logins      user admin, passwords in {yard.secrets}",
        f"  Log         {yard.log}",
        "",
        "Try it:",
        f"  curl -X POST http://{places.app}/predict -H 'Content-Type: application/json' -d '{EXAMPLE}'",
        "",
        *(["Seconds:  " + ", ".join(f"{name} {took:.0f}" for name, took in durations.items())] if durations else []),
        "Next:     " + ", ".join(f"make {verb}{suffix}" for verb in ("load", "train", "status", "rollback", "down")),
    ]
    return "\n".join(lines)


def _accuracy(mlflow: str, model: str, version: str, password: str) -> float:
    api = f"{mlflow}/api/2.0/mlflow"
    found = get(f"{api}/model-versions/get?name={model}&version={version}", password)
    run = get(f"{api}/runs/get?run_id={found['model_version']['run_id']}", password)
    metrics = run["run"]["data"]["metrics"]
    return float(next(metric["value"] for metric in metrics if metric["key"] == "cv_accuracy_mean"))


def _answers(url: str, password: str) -> bool:
    try:
        get(url, password)
    except (OSError, ValueError):
        return False
    return True


def get(url: str, password: str | None = None, timeout: float = TIMEOUT) -> Any:
    """Return the JSON document at an address of a yard, asked for as `admin` when there is a password.

    :param timeout: seconds.
    :raises OSError: there is no answer, or one that is no success (urllib.error.HTTPError).
    """
    request = urllib.request.Request(url)
    if password:
        token = base64.b64encode(f"admin:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    # The rehearsal's certificate is signed by itself; nothing secret of value goes to this machine's own hosts.
    context = ssl._create_unverified_context() if url.startswith("https") else None
    with urllib.request.urlopen(request, timeout=timeout, context=context) as response:
        return json.load(response)
