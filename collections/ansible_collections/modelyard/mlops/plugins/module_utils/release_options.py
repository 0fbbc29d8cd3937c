# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The options of an app, and the release that they describe. Their texts are in the doc fragment `app`."""

from __future__ import annotations

import re
import typing as t

from .container import parse_size
from .ledger import AppStore, now
from .release import Release, ReleaseError, check_slots, seal

Options = dict[str, t.Any]

# How a release is brought into service, which is no part of what it is.
DELIVERY = ("strategy", "keep_previous_running", "gate", "warm_up", "watch", "drain", "keep")

_SECRET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def app_options() -> Options:
    """The argument spec of an app."""
    return {
        "port": _option("int", 8080),
        "slots": {"type": "list", "elements": "int", "default": []},
        "env": _option("dict", {}),
        "secrets": {"type": "dict", "default": {}, "no_log": True},
        "user": _option("str", ""),
        "memory": _option("str", "512m"),
        "cpus": _option("float", 0.0),
        "pids": _option("int", 256),
        "grace": _option("int", 30),
        "strategy": {"type": "str", "choices": ["blue_green", "recreate"], "default": "blue_green"},
        "keep_previous_running": _option("bool", False),
        "gate": _group(
            path=_option("str", "/ready"),
            status=_option("int", 200),
            contains=_option("str", ""),
            in_a_row=_option("int", 3),
            budget=_option("int", 60),
            timeout=_option("int", 5),
        ),
        "warm_up": _group(
            requests=_option("int", 0),
            path=_option("str", "/"),
            method=_option("str", "GET"),
            body=_option("str", ""),
            status=_option("int", 200),
            contains=_option("str", ""),
        ),
        "watch": _group(
            seconds=_option("float", 3.0),
            min_requests=_option("int", 20),
            error_margin_percent=_option("float", 5.0),
            latency_ratio=_option("float", 2.0),
            latency_margin_ms=_option("float", 100.0),
        ),
        "drain": _option("int", 30),
    }


def record_options() -> Options:
    """The argument spec of who does it."""
    return {"by": _option("str", ""), "commit": _option("str", ""), "break_lock": _option("bool", False)}


def longest_run(options: Options) -> float:
    """Seconds after which a run of these options cannot be in order any more."""
    waiting = options["gate"]["budget"] + options["watch"]["seconds"] + 2 * (options["drain"] + options["grace"])
    return float(waiting + 120)


def wanted_release(options: Options, store: AppStore, image_key: str, keep_key: bool) -> Release:
    """The release that the options describe, with the next number.

    :param keep_key: whether the host may get a key for the fingerprints of secrets, if it has none.
    :raises ReleaseError: an option cannot be.
    """
    secrets = secret_values(options)
    config = {
        "port": options["port"],
        "slots": check_slots(options["slots"]),
        "env": {name: str(value) for name, value in sorted(options["env"].items())},
        "memory": parse_size(options["memory"]),
        "cpus": options["cpus"],
        "pids": options["pids"],
        "user": options["user"],
        "grace": options["grace"],
    }
    return Release(
        number=store.next_number(),
        image=options["image"],
        image_key=image_key,
        model=dict(options["model"] or {}),
        config=config,
        secrets=seal(secrets, store.fingerprint_key(create=bool(secrets) and keep_key)),
        delivery={name: options[name] for name in DELIVERY},
        by=options["by"],
        commit=options["commit"],
        created=now(),
    )


def secret_values(options: Options) -> dict[str, str]:
    """The secrets as texts.

    :raises ReleaseError: a name cannot be a file's.
    """
    for name in options["secrets"]:
        if not _SECRET_NAME.fullmatch(name):
            raise ReleaseError(f"secrets: '{name}' cannot be a file name: use letters, digits, _, - and .")
    return {name: str(value) for name, value in options["secrets"].items()}


def _option(type_: str, default: t.Any) -> Options:
    return {"type": type_, "default": default}


def _group(**options: Options) -> Options:
    return {"type": "dict", "default": {}, "apply_defaults": True, "options": options}
