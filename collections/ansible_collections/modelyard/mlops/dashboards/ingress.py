# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Ingress: what HAProxy sees between the users and the apps."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from .library import ENVIRONMENT, board, graph, query, variable

HOST = f'{ENVIRONMENT},instance=~"$instance"'
PROXY = f'{HOST},proxy=~"$proxy"'


def build() -> Dashboard:
    """Return the dashboard."""
    return (
        board("modelyard-ingress", "Ingress", "Requests, answers and slots as the ingress sees them.")
        .with_variable(variable("instance", "Host", "up", 'job="ingress"'))
        .with_variable(variable("proxy", "Frontend or backend", "haproxy_backend_http_responses_total"))
        .with_row(Row("Answers"))
        .with_panel(
            graph(
                "Answers by status",
                "Answers a second that left the ingress.",
                "reqps",
                query(f"sum by (code) (rate(haproxy_frontend_http_responses_total{{{HOST}}}[1m]))", "{{code}}"),
            )
        )
        .with_panel(
            graph(
                "Answers by backend",
                "Answers a second that came from each slot or service.",
                "reqps",
                query(f"sum by (proxy) (rate(haproxy_backend_http_responses_total{{{PROXY}}}[1m]))", "{{proxy}}"),
            )
        )
        .with_row(Row("Backends"))
        .with_panel(
            graph(
                "Time to answer",
                "Mean over the last 1024 requests of each backend.",
                "s",
                query(f"haproxy_backend_response_time_average_seconds{{{PROXY}}}", "{{proxy}}"),
            )
        )
        .with_panel(
            graph(
                "Sessions",
                "Requests under way; the slot of a former release falls to none before it is stopped.",
                "short",
                query(f"haproxy_backend_current_sessions{{{PROXY}}}", "{{proxy}}"),
            )
        )
        .with_row(Row("Certificates"))
        .with_panel(
            graph(
                "Time until a certificate ends",
                "For each file. What renews it by itself does so a month before.",
                "s",
                query(f"min by (file) (modelyard_certificate_end_timestamp_seconds{{{HOST}}}) - time()", "{{file}}"),
            )
        )
    )
