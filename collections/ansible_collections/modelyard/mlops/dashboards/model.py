# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Model: what it predicts, whether its world is still the one that it was trained on, and how good the champion is."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from .library import ENVIRONMENT, GREEN, RED, YELLOW, board, graph, levels, limited, number, query, variable

APP = f'{ENVIRONMENT},app=~"$app"'
TRAINING = f'{ENVIRONMENT},training=~"$training"'
AGE = f"time() - modelyard_training_champion_timestamp_seconds{{{TRAINING}}}"
DAY = 24 * 3600

# The usual reading of a population stability index; the alert's level is in the graph, as the role's user has set it.
DRIFT_LEVELS = ((0.1, YELLOW), (0.25, RED))


def build() -> Dashboard:
    """Return the dashboard."""
    return (
        board("modelyard-model", "Model", "Predictions, drift, and the champion with what it has measured.")
        .with_variable(variable("app", "App", "up", 'job="app"'))
        .with_variable(variable("training", "Training", "modelyard_training_success"))
        .with_row(Row("Now"))
        .with_panel(
            number(
                "Predictions",
                "Rows predicted a second, over the last five minutes.",
                "cps",
                f"sum(rate(predictions_total{{{APP}}}[5m]))",
                levels(),
            )
        )
        .with_panel(
            number(
                "Model versions that serve",
                "More than one for longer than a deployment takes means that hosts disagree.",
                "short",
                f"count(count by (name, version) (model_info{{{APP}}}))",
                levels((2, YELLOW)),
            )
        )
        .with_panel(
            number(
                "Strongest drift",
                "Population stability index of the feature that has drifted most. The alert FeatureDrift looks at it.",
                "short",
                f"max(feature_drift_psi{{{APP}}})",
                levels(*DRIFT_LEVELS),
            )
        )
        .with_panel(
            number(
                "Champion's age",
                "Of the oldest one, since its training. The alert ChampionOld looks at it.",
                "s",
                f"max({AGE})",
                levels((15 * DAY, YELLOW), (30 * DAY, RED)),
            )
        )
        .with_panel(
            number(
                "Champion's version",
                "The version that the last training which made a champion has registered.",
                "none",
                f"max(modelyard_training_champion_model_version{{{TRAINING}}})",
                levels(),
            )
        )
        .with_panel(
            number(
                "Last training succeeded",
                "Whether the last run of every training ended well.",
                "bool_yes_no",
                f"min(modelyard_training_success{{{TRAINING}}})",
                levels((1, GREEN), base=RED),
            )
        )
        .with_row(Row("Predictions"))
        .with_panel(
            graph(
                "Predictions by class",
                "Rows a second, by what the model said.",
                "cps",
                query(f"sum by (label) (rate(predictions_total{{{APP}}}[1m]))", "class {{label}}"),
            )
        )
        .with_panel(
            graph(
                "Predictions by model version",
                "Rows a second; a deployment is where one line takes over from the other.",
                "cps",
                query(
                    f"sum by (app, model_version) (rate(predictions_total{{{APP}}}[1m]))",
                    "{{app}} version {{model_version}}",
                ),
            )
        )
        .with_row(Row("Drift"))
        .with_panel(
            limited(
                graph(
                    "Drift of each feature",
                    "Population stability index between what the app gets and what its model was trained on.",
                    "short",
                    query(f"max by (app, feature) (feature_drift_psi{{{APP}}})", "{{app}} {{feature}}"),
                    query("modelyard:objective:drift", "alert above"),
                ),
                levels(*DRIFT_LEVELS),
            )
        )
        .with_panel(
            graph(
                "Share of each class",
                "Of the predictions of the last hour: what the model says drifts when what it gets does.",
                "percentunit",
                query(
                    f"sum by (label) (rate(predictions_total{{{APP}}}[1h]))"
                    f" / ignoring (label) group_left () sum(rate(predictions_total{{{APP}}}[1h]))",
                    "class {{label}}",
                ),
            ).max(1)
        )
        .with_panel(
            graph(
                "Rows behind the drift",
                "How many of the last rows the drift is measured over; over few of them it says little.",
                "short",
                query(f"sum by (app, instance) (feature_drift_rows{{{APP}}})", "{{app}} {{instance}}"),
            )
        )
        .with_row(Row("Training"))
        .with_panel(
            graph(
                "The champion's metrics",
                "What its training has measured; a step is a new champion.",
                "none",
                query(f"modelyard_training_champion_metric{{{TRAINING}}}", "{{training}} {{metric}}"),
            )
        )
        .with_panel(
            graph(
                "The last run's metrics",
                "Beside the champion's: whether it was close.",
                "none",
                query(f"modelyard_training_metric{{{TRAINING}}}", "{{training}} {{metric}}"),
            )
        )
        .with_panel(
            graph(
                "Champion's age",
                "Since its training; it falls when a better model is found.",
                "s",
                query(AGE, "{{training}}"),
                query(f"modelyard:objective:champion_days * {DAY}", "alert above"),
            )
        )
        .with_panel(
            graph(
                "Length of the last run",
                "How long the last run of each training took.",
                "s",
                query(f"modelyard_training_duration_seconds{{{TRAINING}}}", "{{training}}"),
            )
        )
    )
