# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Which metrics there are, derived from what exports them."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.modelyard.mlops.dashboards.contract import APP_METRICS
from ansible_collections.modelyard.mlops.plugins.module_utils.image_loader import figures as of_image
from ansible_collections.modelyard.mlops.plugins.module_utils.ledger import Active, Attempt, Ledger
from ansible_collections.modelyard.mlops.plugins.module_utils.release import Release
from ansible_collections.modelyard.mlops.plugins.module_utils.release_figures import figures as of_app
from ansible_collections.modelyard.mlops.plugins.module_utils.training import FINISHED, Inputs, Record
from ansible_collections.modelyard.mlops.plugins.module_utils.training import metrics as of_training

COLLECTION = Path(__file__).resolve().parents[3]
RULES = COLLECTION / "roles/prometheus/files/rules"

# What node_exporter, HAProxy and Prometheus export is theirs to say.
OTHERS = ("node_", "haproxy_", "prometheus_", "up")


def rules(path: Path) -> list[dict[str, Any]]:
    """The rules of a file."""
    return [rule for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]


def exported() -> set[str]:
    """Every metric that an app, a delivery or a rule makes."""
    recorded = {rule["record"] for path in RULES.glob("*.yml") for rule in rules(path) if "record" in rule}
    variables = yaml.safe_load((COLLECTION / "roles/prometheus/vars/main.yml").read_text(encoding="utf-8"))
    objectives = {f"modelyard:objective:{name}" for name in variables["prometheus_objectives"]}
    return of_an_app() | figures() | recorded | objectives


def figures() -> set[str]:
    """What deliveries, trainings, transfers and the ingress leave for node_exporter."""
    moment = "2026-01-31T10:00:00.000Z"
    attempt = Attempt("deploy", 1, moment, moment, "", "", "served")
    release = Release(1, "", "", {}, {}, {}, {}, "", "", moment)
    result = {"model_version": "1", "promoted": True, "metrics": {"accuracy": 1.0}}
    record = Record(FINISHED, Inputs("", [], {}, ""), 0.0, result=result)
    texts = (
        of_app("app", Ledger(Active(1, "blue", moment), [], [attempt]), release),
        of_training("training", record, record),
        of_image("image", {"bytes_sent": 0, "bytes_skipped": 0}, 0.0),
        runpy.run_path(str(COLLECTION / "roles/ingress/files/certificates.py"))["figures"]({}),
    )
    return {name for text in texts for name in re.findall(r"^# TYPE (\S+)", text, flags=re.MULTILINE)}


def of_an_app() -> set[str]:
    """The time series of what an app is expected to export."""
    suffixes = {"histogram": ("_bucket", "_sum", "_count")}
    return {name + suffix for name, kind in APP_METRICS.items() for suffix in suffixes.get(kind, ("",))}
