# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""The options of an app, and the release that they describe. Their texts are in the doc fragment `app`."""

from __future__ import annotations

import re
import typing as t

from .container import ContainerError, parse_size
from .image_key import ImageError, check_fixed
from .ledger import AppStore, now
from .option_check import Check, list_problems, problems
from .release import CONFIG, DELIVERY, Release, ReleaseError, check_name, check_slots, seal

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


def app_problems(options: t.Mapping[str, t.Any]) -> list[str]:
    """What of an app's options cannot be; each message names the option."""
    checks = [
        Check("name", check_name, options["name"]),
        Check("slots", check_slots, options["slots"]),
        Check("memory", parse_size, options["memory"]),
        Check("port", _check_port, options["port"]),
        Check("cpus", _check_cpus, options["cpus"]),
        Check("user", _check_user, options["user"]),
        *(Check("secrets", _check_secret_name, str(name)) for name in options["secrets"]),
    ]
    # A release may also be made of the image's key alone.
    if options["image"]:
        checks.append(Check("image", check_fixed, options["image"]))
    return problems(checks, ReleaseError, ContainerError, ImageError)


def name_problems(name: str) -> list[str]:
    """What of an app's name cannot be, where nothing else of the app is given."""
    return problems([Check("name", check_name, name)], ReleaseError)


def apps_problems(variable: str, apps: t.Iterable[t.Mapping[str, t.Any]]) -> list[str]:
    """What cannot be in a role's list of apps; each message names the variable, the app and the option."""
    own = {"name": {"type": "str", "required": True}, "image": {"type": "str", "default": ""}}
    known = app_options()
    checked = {name: known[name] for name in ("slots", "memory", "port", "cpus", "user", "secrets")}
    return list_problems(variable, apps, {**own, **checked}, app_problems)


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
    """
    secrets = secret_values(options)
    config = {
        "port": options["port"],
        "slots": list(options["slots"]),
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
    """The secrets as texts."""
    return {name: str(value) for name, value in options["secrets"].items()}


def _check_secret_name(name: str) -> None:
    if not _SECRET_NAME.fullmatch(name):
        raise ReleaseError(f"'{name}' cannot be a file name: use letters, digits, _, - and .")


def _check_port(port: int) -> None:
    if not 1 <= port <= 65535:
        raise ReleaseError(f"{port} is no port: write a number between 1 and 65535")


def _check_cpus(cpus: float) -> None:
    if cpus < 0:
        raise ReleaseError(f"{cpus} is less than none: write how many, such as 1.5, or 0 for no limit")


def _check_user(user: str) -> None:
    if user.partition(":")[0] in ("0", "root"):
        raise ReleaseError(f"'{user}' is root, and no app runs as root: write another user, such as '10001'")


def _option(default: t.Any) -> Options:
    """An option of its default's type; a default that has keys is a group of options."""
    option = {"type": type(default).__name__, "default": default}
    if isinstance(default, dict) and default:
        suboptions = {name: _option(value) for name, value in default.items()}
        return {"type": "dict", "default": {}, "apply_defaults": True, "options": suboptions}
    return option
