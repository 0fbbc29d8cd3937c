# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""What the ledger of an app says, as figures for Prometheus. They come from it alone, so they are as true as it is."""

from __future__ import annotations

import datetime

from .ledger import AppStore, Attempt, Ledger
from .release import Release, ReleaseError
from .textfile import Metric, publish, render, withdraw

# All are there from the first deployment on, so that a query finds 0 and not nothing.
OUTCOMES = ("served", "restored", "rolled_back", "refused", "returned", "interrupted", "removed")


def publish_figures(store: AppStore, folder: str = "") -> str:
    """Have node_exporter show what the ledger says; returns what went wrong, or nothing."""
    try:
        ledger = store.ledger()
        active = store.release(ledger.active.release) if ledger.active else None
    except (ReleaseError, OSError) as error:
        return f"the figures of {store.name} are not up to date: {error}"
    return publish(_file(store.name), figures(store.name, ledger, active), folder)


def withdraw_figures(app: str, folder: str = "") -> str:
    """Show nothing of an app any more that this host does not serve; returns what went wrong, or nothing."""
    return withdraw(_file(app), folder)


def figures(app: str, ledger: Ledger, active: Release | None) -> str:
    """The figures of one app, in the text format of Prometheus."""
    total = Metric("modelyard_deployments_total", "counter", "Deployments by how they ended.")
    counts = ledger.outcomes()
    total.samples = [({"app": app, "outcome": outcome}, counts.get(outcome, 0)) for outcome in OUTCOMES]
    return render([*_serving(app, ledger, active), *_last(app, ledger.history), total])


def _serving(app: str, ledger: Ledger, active: Release | None) -> list[Metric]:
    info = Metric("modelyard_release_info", "gauge", "The release that serves; always 1.")
    since = Metric("modelyard_release_since_timestamp_seconds", "gauge", "Since when it serves.")
    if active and ledger.active:
        labels = {
            "app": app,
            "release": str(active.number),
            "slot": ledger.active.slot,
            "image": active.image,
            "model": active.model.get("name", ""),
            "model_version": active.model.get("version", ""),
            "commit": active.commit,
        }
        info.samples.append((labels, 1))
        since.samples.append(({"app": app}, _seconds(ledger.active.since)))
    return [info, since]


def _last(app: str, history: list[Attempt]) -> list[Metric]:
    info = Metric("modelyard_deployment_info", "gauge", "The last deployment; always 1.")
    finished = Metric("modelyard_deployment_finished_timestamp_seconds", "gauge", "When the last deployment ended.")
    duration = Metric("modelyard_deployment_duration_seconds", "gauge", "How long the last deployment took.")
    downtime = Metric("modelyard_deployment_downtime_seconds", "gauge", "How long nothing served in it.")
    if history:
        last = history[-1]
        labels = {"app": app, "release": str(last.release), "action": last.action, "outcome": last.kind}
        end = _seconds(last.finished)
        info.samples.append((labels, 1))
        finished.samples.append(({"app": app}, end))
        duration.samples.append(({"app": app}, round(end - _seconds(last.started), 3)))
        downtime.samples.append(({"app": app}, last.downtime))
    return [info, finished, duration, downtime]


def _file(app: str) -> str:
    return f"modelyard_app_{app}"


def _seconds(moment: str) -> float:
    return datetime.datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()
