# SPDX-License-Identifier: Apache-2.0
"""Pipelines at the same time decide about the champion one after the other, in the order of their versions.

MLflow has neither locks nor a compare-and-set of aliases, but it gives each version a number of its own, in one rising
row. So the number is a ticket: a version's turn comes when every earlier one has its decision, and ends with its own.
The champion read within a turn is what every earlier pipeline has left.

A pipeline that was killed in between never decides. After PATIENCE seconds the next one writes so on its version
and goes ahead; `assign` then refuses the other, should it only have been slow. What remains is a pipeline stalled
for that long right between `assign`'s last look and its write: its alias would then be the last word.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from iris_model import IrisError
from iris_model.tracking import CHECKSUMS_TAG, answering

#: The tag that says why a version did or did not become champion. It is the last that a pipeline writes.
DECISION_TAG = "modelyard.decision"
#: Seconds after which a pipeline no longer waits for another that has registered an earlier version and not decided.
PATIENCE = 300.0

log = logging.getLogger("iris_model")


@contextmanager
def turn(version: ModelVersion) -> Iterator[None]:
    """Hold the right to decide about the champion: pipelines get it one after the other, in their versions' order.

    Raises:
        IrisError: MLflow does not answer. Whatever ends a turn early is written as the version's decision.
    """
    try:
        with answering(f"nothing can be decided about version {version.version}"):
            for earlier in _undecided_before(version):
                _await_decision(earlier, version)
            yield
    except BaseException as error:
        _interrupt(version, f"interrupted: {str(error) or type(error).__name__}")
        raise


def assign(version: ModelVersion, alias: str, reason: str) -> None:
    """Move an alias to a version and write the reason on it, which ends the version's turn.

    Raises:
        IrisError: another pipeline has given this one up meanwhile; no alias is moved.
    """
    client = mlflow.MlflowClient()
    if decision := client.get_model_version(version.name, version.version).tags.get(DECISION_TAG):
        raise IrisError(f"version {version.version} of {version.name} is not made {alias}, it was {decision}")
    client.set_registered_model_alias(version.name, alias, version.version)
    client.set_model_version_tag(version.name, version.version, DECISION_TAG, reason)


def _interrupt(version: ModelVersion, reason: str) -> None:
    """End a version's turn without a decision, if MLflow still answers; if not, the next one has to lose patience."""
    try:
        if not _decided(version):
            mlflow.MlflowClient().set_model_version_tag(version.name, version.version, DECISION_TAG, reason[:500])
    except MlflowException as error:
        log.warning("version %s stays undecided: %s", version.version, error)


def _undecided_before(version: ModelVersion) -> list[ModelVersion]:
    """Return the pipelines' versions that are still to be decided, oldest first. What people registered has no turn."""
    found = mlflow.MlflowClient().search_model_versions(f"name='{version.name}'", max_results=10_000)
    undecided = [
        other
        for other in found
        if int(other.version) < int(version.version) and CHECKSUMS_TAG in other.tags and DECISION_TAG not in other.tags
    ]
    return sorted(undecided, key=lambda other: int(other.version))


def _await_decision(earlier: ModelVersion, version: ModelVersion) -> None:
    """Wait until an earlier version is decided, or write on it that it was given up."""
    client = mlflow.MlflowClient()
    log.info("version %s waits for the decision about version %s", version.version, earlier.version)
    deadline = time.monotonic() + PATIENCE
    while not _decided(earlier):
        if time.monotonic() > deadline:
            reason = f"given up: undecided for {PATIENCE:.0f} s, version {version.version} went ahead"
            client.set_model_version_tag(earlier.name, earlier.version, DECISION_TAG, reason)
            log.warning("version %s %s", earlier.version, reason)
            return
        time.sleep(0.2)


def _decided(version: ModelVersion) -> bool:
    """Return whether a version has a decision now, or is no longer there."""
    try:
        return DECISION_TAG in mlflow.MlflowClient().get_model_version(version.name, version.version).tags
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return True
        raise
