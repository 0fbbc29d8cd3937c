# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Check what the ingress shall serve, and put its routes in order."""

from __future__ import annotations

import re
import typing as t
from collections import Counter

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: ingress_plan
short_description: Check what the ingress shall serve, and put its routes in order
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
description:
  - Completes apps and services with the defaults of the role ingress, and puts the apps' routes in the order in which
    HAProxy has to try them, a host before none and a long path before a short one.
  - Fails with all that is wrong, so that nothing on a host has changed yet.
positional: services, users
options:
  _input:
    description: The apps, as in C(ingress_apps).
    type: list
    elements: dict
    required: true
  services:
    description: The services, as in C(ingress_services).
    type: list
    elements: dict
    default: []
  users:
    description: The users who can log in.
    type: dict
    default: {}
"""

EXAMPLES = r"""
routes: "{{ [{'name': 'iris', 'slots': [18081, 18082]}] | modelyard.mlops.ingress_plan }}"
# => {"apps": [{"name": "iris", "slots": [18081, 18082], "host": "", "path": "/", "private_paths": []}],
#     "services": []}
"""

RETURN = r"""
_value:
  description: The V(apps) in order, and the V(services); each path ends with a slash.
  type: dict
"""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")
_PATH = re.compile(r"/[A-Za-z0-9._~/-]*")
_HOST = re.compile(r"[a-z0-9][a-z0-9.-]*|")
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")

Dict = dict[str, t.Any]


def ingress_plan(
    apps: t.Sequence[Dict], services: t.Sequence[Dict] = (), users: Dict | None = None
) -> dict[str, list[Dict]]:
    """The apps in the order of their routes, and the services, both complete."""
    planned_apps = [_app(app) for app in apps]
    planned_services = [_service(service) for service in services]
    problems = [
        *_bad(_NAME, "name", [item["name"] for item in [*planned_apps, *planned_services]]),
        *_bad(_PATH, "path", [path for item in [*planned_apps, *planned_services] for path in _paths(item)]),
        *_bad(_HOST, "route.host", [app["host"] for app in planned_apps]),
        *_bad(_USER, "ingress_users", list(users or {})),
        *_twice("app", [app["name"] for app in planned_apps]),
        *_twice("service", [service["name"] for service in planned_services]),
        *_twice("route", [app["host"] + app["path"] for app in planned_apps]),
        *_twice("service path", [service["path"] for service in planned_services]),
        *_twice("port", _ports(planned_apps, planned_services)),
        *[f"{app['name']} needs two slots, not {app['slots']}" for app in planned_apps if len(app["slots"]) != 2],
        *[
            f"the service {service['name']} wants a login, and ingress_users is empty: name a user with a password"
            for service in planned_services
            if service["login"] and not users
        ],
    ]
    if problems:
        raise AnsibleFilterError("the ingress cannot be configured: " + "; ".join(problems))
    planned_apps.sort(key=lambda app: (app["host"] == "", -len(app["path"]), app["host"], app["path"]))
    return {"apps": planned_apps, "services": planned_services}


def _app(app: Dict) -> Dict:
    route = app.get("route") or {}
    return {
        "name": app["name"],
        "slots": list(app["slots"]),
        "host": route.get("host") or "",
        "path": _slashed(route.get("path") or "/"),
        "private_paths": [_slashed(path) for path in app.get("private_paths") or []],
    }


def _service(service: Dict) -> Dict:
    return {
        "name": service["name"],
        "path": _slashed(service["path"]),
        "port": service["port"],
        "login": service.get("login", True),
    }


def _slashed(path: str) -> str:
    return path.rstrip("/") + "/"


def _paths(item: Dict) -> list[str]:
    return [item["path"], *item.get("private_paths", [])]


def _ports(apps: list[Dict], services: list[Dict]) -> list[int]:
    return [port for app in apps for port in app["slots"]] + [service["port"] for service in services]


def _bad(pattern: t.Pattern[str], option: str, values: t.Iterable[str]) -> list[str]:
    return [f"{option}: '{value}' does not match {pattern.pattern}" for value in values if not pattern.fullmatch(value)]


def _twice(what: str, values: t.Iterable[t.Any]) -> list[str]:
    return [f"the {what} {value} is there twice" for value, count in Counter(values).items() if count > 1]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"ingress_plan": ingress_plan}
