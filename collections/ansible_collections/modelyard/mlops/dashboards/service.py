# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Service: what an app's users get."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from .library import ENVIRONMENT, GREEN, RED, YELLOW, board, graph, heat, levels, limited, number, query, variable

APP = f'{ENVIRONMENT},app=~"$app"'
ON_HOST = f'{APP},instance=~"$instance"'
ALL = f"sum(rate(request_count_total{{{ON_HOST}}}[5m]))"
ERRORS = f'sum(rate(request_count_total{{{ON_HOST},status=~"5.."}}[5m]))'
# Without any error yet there is no series of errors.
ERROR_RATIO = f"({ERRORS} or {ALL} * 0) / {ALL}"
ERROR_LEVELS = ((0.01, YELLOW), (0.05, RED))

# Where the alerts of the budgets fire.
BURN_LEVELS = ((6, YELLOW), (14.4, RED))


def latency(quantile: float) -> str:
    """Return the latency that this share of the requests stays below."""
    buckets = f"sum by (le) (rate(request_latency_seconds_bucket{{{ON_HOST}}}[5m]))"
    return f"histogram_quantile({quantile}, {buckets})"


def burn(metric: str, objective: str, window: str) -> str:
    """Return how many times as fast as the objective allows its budget is used up."""
    return f"{metric}{window}{{{APP}}} / scalar(modelyard:objective:{objective})"


def build() -> Dashboard:
    """Return the dashboard."""
    return (
        board("modelyard-service", "Service", "Rate, errors and latency of the apps, as their users see them.")
        .with_variable(variable("app", "App", "up", 'job="app"'))
        .with_variable(variable("instance", "Host", "up", 'job="app"'))
        .with_row(Row("Now"))
        .with_panel(
            number(
                "Apps that answer",
                "Share of the apps whose metrics Prometheus gets.",
                "percentunit",
                f'avg(up{{job="app",{ON_HOST}}})',
                levels((1, GREEN), base=RED),
            )
        )
        .with_panel(
            number(
                "Requests",
                "Requests a second, all endpoints, over the last five minutes.",
                "reqps",
                ALL,
                levels(),
            )
        )
        .with_panel(
            number(
                "Errors",
                "Share of requests that ended with a status of 500 or above. The alert ApiErrors fires above 5%.",
                "percentunit",
                ERROR_RATIO,
                levels(*ERROR_LEVELS),
            )
        )
        .with_panel(
            number(
                "Half stay below",
                "The median of the latency.",
                "s",
                latency(0.5),
                levels((0.1, YELLOW), (0.5, RED)),
            )
        )
        .with_panel(
            number(
                "99% stay below",
                "The latency that one request in a hundred exceeds.",
                "s",
                latency(0.99),
                levels((0.5, YELLOW), (1, RED)),
            )
        )
        .with_panel(
            number(
                "In progress",
                "Requests that are being worked on at this moment.",
                "short",
                f"sum(in_progress{{{ON_HOST}}})",
                levels((50, YELLOW), (100, RED)),
            )
        )
        .with_row(Row("Traffic"))
        .with_panel(
            graph(
                "Request rate by endpoint",
                "Requests a second.",
                "reqps",
                query(f"sum by (endpoint) (rate(request_count_total{{{ON_HOST}}}[1m]))", "{{endpoint}}"),
            )
        )
        .with_panel(
            graph(
                "Request rate by status",
                "Requests a second, by the status that they were answered with.",
                "reqps",
                query(f"sum by (status) (rate(request_count_total{{{ON_HOST}}}[1m]))", "{{status}}"),
            )
        )
        .with_panel(
            limited(
                graph(
                    "Error ratio",
                    "Share of requests that ended with a status of 500 or above, over five minutes.",
                    "percentunit",
                    query(ERROR_RATIO, "errors"),
                ),
                levels(*ERROR_LEVELS),
            )
        )
        .with_panel(
            graph(
                "In progress",
                "Requests that are being worked on; a line that only climbs means that the app does not keep up.",
                "short",
                query(f"sum by (app) (in_progress{{{ON_HOST}}})", "{{app}}"),
            )
        )
        .with_row(Row("Latency"))
        .with_panel(
            graph(
                "Latency quantiles",
                "Half, 95% and 99% of the requests were answered within these times.",
                "s",
                query(latency(0.5), "50%"),
                query(latency(0.95), "95%"),
                query(latency(0.99), "99%"),
            )
        )
        .with_panel(
            heat(
                "Latency of all requests",
                "How many requests took how long; the darker, the more.",
                "s",
                f"sum by (le) (increase(request_latency_seconds_bucket{{{ON_HOST}}}[1m]))",
            )
        )
        .with_row(Row("Objectives"))
        .with_panel(
            limited(
                graph(
                    "Burn rate of errors",
                    "How many times as many requests fail as the objective allows; at 1 the budget just lasts.",
                    "short",
                    query(burn("app:request_errors:ratio_rate", "errors", "1h"), "{{app}} last hour"),
                    query(burn("app:request_errors:ratio_rate", "errors", "6h"), "{{app}} last six hours"),
                ),
                levels(*BURN_LEVELS),
            )
        )
        .with_panel(
            limited(
                graph(
                    "Burn rate of slow requests",
                    "How many times as many requests are slow as the objective allows; at 1 the budget just lasts.",
                    "short",
                    query(burn("app:request_slow:ratio_rate", "slow", "1h"), "{{app}} last hour"),
                    query(burn("app:request_slow:ratio_rate", "slow", "6h"), "{{app}} last six hours"),
                ),
                levels(*BURN_LEVELS),
            )
        )
        .with_row(Row("Every series, whatever app is chosen"))
        .with_panel(
            graph(
                "Request rate",
                "Requests a second: app, method, endpoint and status.",
                "reqps",
                query("rate(request_count_total[1m])", "{{app}} {{method}} {{endpoint}} {{status}}"),
            )
        )
        .with_panel(
            graph(
                "Mean latency",
                "Seconds spent on requests, divided by their number.",
                "s",
                query(
                    "rate(request_latency_seconds_sum[1m]) / rate(request_latency_seconds_count[1m])",
                    "{{app}} {{endpoint}}",
                ),
            )
        )
    )
