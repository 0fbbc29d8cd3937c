# SPDX-License-Identifier: Apache-2.0
"""What Terraform would change, as a person reviews it, and as a delivery compares it with what was reviewed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import DeliveryError

_SIGNS = {
    ("create",): "+ create",
    ("update",): "~ update",
    ("delete",): "- destroy",
    ("delete", "create"): "-/+ replace",
    ("create", "delete"): "+/- replace",
    ("forget",): ". forget",
}
LONGEST_TEXT = 50_000  # a comment on GitHub holds 65,536 characters


@dataclass(frozen=True)
class Change:
    """One resource or output that would change.

    :param address: its address, `output.NAME` for an output.
    :param actions: Terraform's words for what would be done.
    :param fingerprint: a hash of what is there and what would be; nothing of either can be read from it.
    """

    address: str
    actions: tuple[str, ...]
    fingerprint: str

    def __str__(self) -> str:
        return f"{_SIGNS.get(self.actions, ', '.join(self.actions))}  {self.address}"


@dataclass(frozen=True)
class Plan:
    """All that an apply would change, and how Terraform tells it."""

    changes: tuple[Change, ...] = ()
    text: str = ""

    @property
    def digest(self) -> str:
        """A short hash of what would change: two plans that would do the same have the same."""
        every = sorted((change.address, change.actions, change.fingerprint) for change in self.changes)
        return hashlib.sha256(json.dumps(every).encode()).hexdigest()[:16]

    def check(self, reviewed: str | None) -> None:
        """Refuse to go on when this is not what was reviewed. A plan that changes nothing needs no review.

        :param reviewed: the digest of the reviewed plan; None when there was no review.
        :raises DeliveryError: it differs; the message says what would be changed.
        """
        if not self.changes or reviewed == self.digest:
            return
        found = "no plan was reviewed" if reviewed is None else f"the reviewed plan was {reviewed}"
        raise DeliveryError(
            f"{found}, and what would be changed in the cloud is {self.digest}:\n"
            + "\n".join(f"  {change}" for change in self.changes)
            + "\nNothing was changed. Somebody changed the cloud or another delivery came between: read this, and if "
            f"it is right, start Deliver by hand with plan {self.digest}."
        )

    def markdown(self, environment: str) -> str:
        """Return the plan as a comment on a pull request shows it."""
        if not self.changes:
            return f"### Terraform, {environment}\n\nNothing would change in the cloud; plan `{self.digest}`."
        listed = "\n".join(str(change) for change in self.changes)
        told = self.text if len(self.text) <= LONGEST_TEXT else self.text[:LONGEST_TEXT] + "\n(cut here)"
        return (
            f"### Terraform, {environment}\n\n{len(self.changes)} would change in the cloud; plan `{self.digest}`.\n\n"
            f"```diff\n{listed}\n```\n\n"
            f"<details><summary>The whole plan</summary>\n\n```text\n{told}\n```\n\n</details>"
        )


def read(shown: Mapping[str, Any], text: str) -> Plan:
    """Return the plan that `terraform show -json` prints.

    :param shown: what it printed, parsed.
    :param text: the same plan as `terraform show` prints it for people; it holds no sensitive value.
    """
    return Plan(tuple(_changes(shown)), text)


def _changes(shown: Mapping[str, Any]) -> Iterable[Change]:
    for resource in shown.get("resource_changes", []):
        change = resource["change"]
        if resource["mode"] == "managed" and change["actions"] != ["no-op"]:
            yield Change(resource["address"], tuple(change["actions"]), _fingerprint(change))
    for name, change in sorted(shown.get("output_changes", {}).items()):
        if change["actions"] != ["no-op"]:
            yield Change(f"output.{name}", tuple(change["actions"]), _fingerprint(change))


def _fingerprint(change: Mapping[str, Any]) -> str:
    seen = {key: change.get(key) for key in ("before", "after", "after_unknown", "replace_paths")}
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()
