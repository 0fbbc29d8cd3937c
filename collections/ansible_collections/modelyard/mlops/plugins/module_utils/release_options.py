# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The options of an app, and the release that they describe. Their texts are in the doc fragment `app`."""

from __future__ import annotations

import re
import typing as t

from .container import parse_size
from .ledger import AppStore, now
from .release import CONFIG, DELIVERY, Release, ReleaseError, check_slots, seal

Options = dict[str, t.Any]

_SECRET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def app_options() -> Options:
    """The argument spec of an app."""
    options = {name: _option(default) for name, default in {**CONFIG, **DELIVERY}.items() if name != "keep"}
    return {
        **options,
        "slots": {"type": "list", "elements": "int", "default": []},
        "secrets": {**_option({}), "no_log": True},
        "strategy": {**_option(DELIVERY["strategy"]), "choices": ["blue_green", "recreate"]},
    }


def record_options() -> Options:
    """The argument spec of who does it."""
    return {"by": _option(""), "commit": _option(""), "break_lock": _option(False)}


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


def _option(default: t.Any) -> Options:
    """An option of its default's type; a default that has keys is a group of options."""
    option = {"type": type(default).__name__, "default": default}
    if isinstance(default, dict) and default:
        suboptions = {name: _option(value) for name, value in default.items()}
        return {"type": "dict", "default": {}, "apply_defaults": True, "options": suboptions}
    return option
