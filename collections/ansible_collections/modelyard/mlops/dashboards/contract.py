# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What dashboards and rules expect of an app's /metrics: each metric family and its type."""

from __future__ import annotations

APP_METRICS = {
    "request_count_total": "counter",
    "in_progress": "gauge",
    "request_latency_seconds": "histogram",
    "predictions_total": "counter",
    "model_info": "gauge",
    "feature_drift_psi": "gauge",
    "feature_drift_rows": "gauge",
}
