# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Deliveries: what serves, how it came there, and what that took."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from .library import ENVIRONMENT, RED, YELLOW, board, graph, levels, listing, number, query, variable

HOST = f'{ENVIRONMENT},instance=~"$instance"'
APP = f'{HOST},app=~"$app"'
FAILED = "refused|returned|interrupted"
WEEK = "7d"


def ended(outcomes: str) -> str:
    """Return how many deployments have ended so within a week."""
    total = f'modelyard_deployments_total{{{APP},outcome=~"{outcomes}"}}'
    # No increase(): that is blind to a first deployment, whose series begins with it, and finds fractions. The counts
    # come from the ledger and do not begin again, unless the host does.
    return f"sum(clamp_min({total} - ({total} offset {WEEK} or {total} * 0), 0))"


def build() -> Dashboard:
    """Return the dashboard."""
    return (
        board("modelyard-deliveries", "Deliveries", "Releases, outcomes, durations and what travelled to the hosts.")
        .with_variable(variable("app", "App", "modelyard_deployments_total"))
        .with_variable(variable("instance", "Host", "up", 'job="node"'))
        .with_row(Row("A week"))
        .with_panel(
            number(
                "Came into service",
                "Releases that serve or have served, counted on each host, in seven days.",
                "short",
                ended("served"),
                levels(),
            )
        )
        .with_panel(
            number(
                "Failed",
                "Deployments that were refused, returned or interrupted, in seven days. Users noticed none of them.",
                "short",
                ended(FAILED),
                levels((1, YELLOW)),
            )
        )
        .with_panel(
            number(
                "Rolled back",
                "Times that somebody went back to an earlier release, in seven days.",
                "short",
                ended("rolled_back"),
                levels((1, YELLOW)),
            )
        )
        .with_panel(
            number(
                "Since the last deployment",
                "Time since the last deployment ended, however it did.",
                "s",
                f"time() - max(modelyard_deployment_finished_timestamp_seconds{{{APP}}})",
                levels(),
            )
        )
        .with_panel(
            number(
                "The last one took",
                "From its start to the end of the old release, of the slowest host.",
                "s",
                f"max(modelyard_deployment_duration_seconds{{{APP}}})",
                levels((120, YELLOW), (600, RED)),
            )
        )
        .with_panel(
            number(
                "Sent for the last images",
                "What the last transfers of all images put on the connections to all hosts.",
                "bytes",
                f"sum(modelyard_image_transfer_bytes_sent{{{HOST}}})",
                levels(),
            )
        )
        .with_row(Row("Now"))
        .with_panel(
            listing(
                "What serves",
                "The release that serves on each host, and its model.",
                f"modelyard_release_info{{{APP}}}",
                {
                    "instance": "host",
                    "app": "app",
                    "release": "release",
                    "slot": "slot",
                    "model": "model",
                    "model_version": "version",
                    "commit": "commit",
                },
            )
        )
        .with_panel(
            listing(
                "The last deployment",
                "What it tried on each host, and how it ended; the ledger on the host has the reason.",
                f"modelyard_deployment_info{{{APP}}}",
                {
                    "instance": "host",
                    "app": "app",
                    "release": "release",
                    "action": "action",
                    "outcome": "outcome",
                },
            )
        )
        .with_row(Row("Deployments"))
        .with_panel(
            graph(
                "Deployments by outcome",
                "How many have ever ended so, on all hosts; each step is a deployment.",
                "short",
                query(f"sum by (outcome) (modelyard_deployments_total{{{APP}}})", "{{outcome}}"),
            )
        )
        .with_panel(
            graph(
                "Duration",
                "How long the last deployment took, by app and host, and how long nothing served in it.",
                "s",
                query(f"modelyard_deployment_duration_seconds{{{APP}}}", "{{app}} {{instance}}"),
                query(f"modelyard_deployment_downtime_seconds{{{APP}}}", "downtime of {{app}} {{instance}}"),
            )
        )
        .with_panel(
            graph(
                "Age of what serves",
                "Time since the release came into service; it falls with each deployment.",
                "s",
                query(f"time() - modelyard_release_since_timestamp_seconds{{{APP}}}", "{{app}} {{instance}}"),
            )
        )
        .with_panel(
            graph(
                "Hosts by model version",
                "How many hosts serve each version; a deployment is where one line takes over from the other.",
                "short",
                query(
                    f"count by (app, model, model_version) (modelyard_release_info{{{APP}}})",
                    "{{app}}: {{model}} {{model_version}}",
                ),
            )
        )
        .with_row(Row("Images"))
        .with_panel(
            graph(
                "Bytes sent",
                "What the last transfer of each image put on the connection.",
                "bytes",
                query(f"max by (image) (modelyard_image_transfer_bytes_sent{{{HOST}}})", "{{image}}"),
            )
        )
        .with_panel(
            graph(
                "Bytes that did not have to travel",
                "Of the uncompressed image, as the host had them already.",
                "bytes",
                query(f"max by (image) (modelyard_image_transfer_bytes_skipped{{{HOST}}})", "{{image}}"),
            )
        )
        .with_panel(
            graph(
                "Duration of transfers",
                "From the look at the host to the verified image, of the slowest host.",
                "s",
                query(f"max by (image) (modelyard_image_transfer_duration_seconds{{{HOST}}})", "{{image}}"),
            )
        )
        .with_panel(
            graph(
                "Age of images",
                "Time since the last transfer of each.",
                "s",
                query(
                    f"time() - max by (image) (modelyard_image_transfer_finished_timestamp_seconds{{{HOST}}})",
                    "{{image}}",
                ),
            )
        )
    )
