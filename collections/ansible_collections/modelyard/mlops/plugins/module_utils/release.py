# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""A release: what exactly runs when an app runs, and how two releases differ."""

from __future__ import annotations

import hashlib
import hmac
import json
import typing as t
from dataclasses import asdict, dataclass, field, fields, replace

from .option_check import NAME

SLOTS = ("blue", "green")

# How a release is brought into service, and what that is unless somebody says otherwise.
DELIVERY: dict[str, t.Any] = {
    "strategy": "blue_green",
    "keep_previous_running": False,
    "gate": {"path": "/ready", "status": 200, "contains": "", "in_a_row": 3, "budget": 60, "timeout": 5},
    "warm_up": {"requests": 0, "path": "/", "method": "GET", "body": "", "status": 200, "contains": ""},
    "watch": {
        "seconds": 3.0,
        "min_requests": 20,
        "error_margin_percent": 5.0,
        "latency_ratio": 2.0,
        "latency_margin_ms": 50.0,
    },
    "drain": 30,
    "keep": 5,
}

# The same for what shapes its container.
CONFIG: dict[str, t.Any] = {
    "port": 8080,
    "env": {},
    "memory": "512m",
    "cpus": 0.0,
    "pids": 256,
    "user": "",
    "grace": 30,
}


class ReleaseError(Exception):
    """The app's description cannot be deployed; the message names the option and what to do."""


@dataclass(frozen=True)
class Release:
    """One numbered release. Written once; only its number, `by`, `commit` and `created` do not make its identity.

    :ivar image: the reference for people; `image_key` is what is run.
    :ivar model: `name`, `version`, `digest` and `path` of the model's files on the host; empty without a model.
    :ivar config: all else that shapes the container: port, slots, env, memory, cpus, pids, user, grace.
    :ivar secrets: fingerprint by name; the values are files that only root can reach.
    :ivar delivery: how the release is brought into service. A change of it is no new release.
    """

    number: int
    image: str
    image_key: str
    model: dict[str, str]
    config: dict[str, t.Any]
    secrets: dict[str, str]
    delivery: dict[str, t.Any] = field(default_factory=dict)
    by: str = ""
    commit: str = ""
    created: str = ""

    @classmethod
    def from_json(cls, value: dict[str, t.Any]) -> Release:
        """The reverse of to_json, also of what an older or a newer version of this collection wrote."""
        known = {item.name for item in fields(cls)}
        release = cls(**{key: item for key, item in value.items() if key in known})
        delivery = _completed(DELIVERY, release.delivery)
        return replace(release, config={"cpus": CONFIG["cpus"], **release.config}, delivery=delivery)

    def to_json(self) -> dict[str, t.Any]:
        """All of it; holds no secret."""
        return asdict(self)

    @property
    def parts(self) -> dict[str, str]:
        """What identifies the release, part by part."""
        model = {key: value for key, value in self.model.items() if key != "path"}
        return {
            "image": self.image_key,
            "model": fingerprint(model),
            "config": fingerprint(self.config),
            "secrets": fingerprint(self.secrets),
        }

    @property
    def identity(self) -> str:
        """One digest of all the parts."""
        return fingerprint(self.parts)

    def port(self, slot: str) -> int:
        """The loopback port of a slot."""
        return int(self.config["slots"][SLOTS.index(slot)])


def other(slot: str | None) -> str:
    """The slot that is free while `slot` serves."""
    return SLOTS[1] if slot == SLOTS[0] else SLOTS[0]


def differences(old: Release | None, new: Release) -> list[str]:
    """The parts in which two releases differ."""
    if old is None:
        return list(new.parts)
    return [part for part, value in new.parts.items() if old.parts[part] != value]


def describe(release: Release | None, slots: dict[str, str]) -> str:
    """A host's slots and what serves, as text for a diff; of a secret only the beginning of its fingerprint."""
    shown: dict[str, t.Any] = {"slots": slots}
    if release is not None:
        shown.update(
            image=f"{release.image} {release.image_key}".strip(),
            model={key: value for key, value in release.model.items() if key != "path"},
            config=release.config,
            secrets={name: f"fingerprint {seal[:12]}" if seal else "new" for name, seal in release.secrets.items()},
        )
    return json.dumps(shown, indent=2, sort_keys=True) + "\n"


def fingerprint(value: t.Any) -> str:
    """A digest of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def seal(secrets: dict[str, str], key: bytes) -> dict[str, str]:
    """A fingerprint of each secret, which tells nothing to who does not have the host's key; without a key, none."""
    return {
        name: hmac.new(key, value.encode(), hashlib.sha256).hexdigest() if key else ""
        for name, value in sorted(secrets.items())
    }


def _completed(defaults: dict[str, t.Any], given: dict[str, t.Any]) -> dict[str, t.Any]:
    """What is given of the options that there are, and the defaults of the others."""
    found = {}
    for name, default in defaults.items():
        value = given.get(name, default)
        found[name] = _completed(default, value) if isinstance(default, dict) else value
    return found


def check_name(name: str) -> None:
    """Refuse an app name that could not be part of a path, a container name and a backend name."""
    if not NAME.fullmatch(name):
        raise ReleaseError(f"'{name}' is no app name: use lower-case letters, digits and dashes, a letter first")


def check_slots(slots: t.Sequence[int]) -> None:
    """Refuse anything but two different unprivileged ports."""
    if len(slots) != 2 or slots[0] == slots[1] or not all(1024 <= port <= 65535 for port in slots):
        raise ReleaseError(f"{list(slots)} must be two different ports between 1024 and 65535, blue and green")
