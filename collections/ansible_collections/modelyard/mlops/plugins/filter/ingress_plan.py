# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Check what the ingress shall serve, and work out what its configuration says of it."""

from __future__ import annotations

import re
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.modelyard.mlops.plugins.module_utils.option_check import NAME
from ansible_collections.modelyard.mlops.plugins.module_utils.release import SLOTS
from ansible_collections.modelyard.mlops.plugins.module_utils.release_options import apps_problems

DOCUMENTATION = r"""
name: ingress_plan
short_description: Check what the ingress shall serve, and work out what its configuration says of it
version_added: 0.1.0
author: The Modelyard authors (@modelyard)
description:
  - Completes apps and services with the defaults of the role ingress, and puts them in the order in which HAProxy has
    to try them, a host before none and a long path before a short one.
  - Exporters and certbot's answers become services like the others.
  - Fails with all that is wrong, also in what only app_deploy uses of an app, so that nothing on a host has changed
    yet.
positional: services, metrics, users, certbot, https_redirect, serving
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
  metrics:
    description: The exporters, as in C(ingress_metrics).
    type: list
    elements: dict
    default: []
  users:
    description: The users who can log in.
    type: dict
    default: {}
  certbot:
    description: As in C(ingress_certbot).
    type: dict
    default: {}
  https_redirect:
    description: What an app without C(https) in its C(route) does with plain HTTP.
    type: bool
    default: true
  serving:
    description:
      - For each app the V(slot) that serves now and the V(port) at which the host's ingress has it. That slot stays
        there until another one serves, so that new C(slots) interrupt nothing.
    type: dict
    default: {}
"""

EXAMPLES = r"""
routes: "{{ [{'name': 'iris', 'slots': [18081, 18082]}] | modelyard.mlops.ingress_plan }}"
# => {"apps": [{"name": "iris", "when": "{ var(txn.path) -m beg / }", "ports": {"blue": 18081, "green": 18082}, ...}],
#     "services": [], "names": [], "grace": 3600}
"""

RETURN = r"""
_value:
  description:
    - The V(apps) and the V(services) in order, each with the condition V(when) under which a request is its own.
    - V(names) are the host names that certbot shall get certificates for, V(grace) the seconds that a former process
      may need after a reload.
  type: dict
"""

Dict = dict[str, t.Any]

ACME_PATH = "/.well-known/acme-challenge/"
ACME_PORT = 8402
METRICS_PATH = "/-/metrics/"

# Seconds, and bytes.
TIMEOUT = 60
TUNNEL_TIMEOUT = 3600
MAX_BODY = "10m"

_PATH = re.compile(r"/[A-Za-z0-9._~/-]*")
_HOST = re.compile(r"[a-z0-9][a-z0-9.-]*|")
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")
_SIZE = re.compile(r"([0-9]{1,9})([kmg]?)")
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def ingress_plan(
    apps: t.Sequence[Dict],
    services: t.Sequence[Dict] = (),
    metrics: t.Sequence[Dict] = (),
    users: Dict | None = None,
    certbot: Dict | None = None,
    https_redirect: bool = True,
    serving: Dict | None = None,
) -> Dict:
    """All that the configuration says of apps and services, in the order of their routes.

    :raises AnsibleFilterError: names all that does not fit together.
    """
    planned_apps = [_app(app, https_redirect) for app in apps]
    planned_services = [
        *map(_service, services),
        *map(_exporter, metrics),
        *([_challenges()] if _names(certbot, planned_apps) else []),
    ]
    problems = [
        *apps_problems("ingress_apps", apps),
        *_malformed(planned_apps, planned_services, users or {}),
        *_conflicts(planned_apps, planned_services),
        *_misplaced(planned_apps),
        *_without_login(planned_services, users or {}),
        *_without_address(certbot or {}, planned_apps),
    ]
    if problems:
        raise AnsibleFilterError("the ingress cannot be configured: " + "; ".join(problems))
    for app in planned_apps:
        app["ports"] = _ports(app, (serving or {}).get(app["name"]))
        app["max_body"] = _bytes(app["max_body"])
    return {
        "apps": sorted(planned_apps, key=_precision),
        "services": sorted(planned_services, key=_precision),
        "names": _names(certbot, planned_apps),
        "grace": max([TUNNEL_TIMEOUT, *[max(app["timeout"], app["tunnel_timeout"]) for app in planned_apps]]),
    }


def _app(app: Dict, https_redirect: bool) -> Dict:
    route = app.get("route") or {}
    host, path = route.get("host") or "", _slashed(route.get("path") or "/")
    return {
        "name": app["name"],
        "slots": list(app["slots"]),
        "host": host,
        "path": path,
        "when": _when(host, path),
        "https": _given(route, "https", https_redirect),
        "strip_path": _given(route, "strip_path", False),
        "timeout": _given(route, "timeout", TIMEOUT),
        "tunnel_timeout": _given(route, "tunnel_timeout", TUNNEL_TIMEOUT),
        "max_body": str(_given(route, "max_body", MAX_BODY)),
        "private_paths": [_slashed(path) for path in app.get("private_paths") or []],
    }


def _service(service: Dict) -> Dict:
    host, path = service.get("host") or "", _slashed(service["path"])
    return {
        "name": service["name"],
        "host": host,
        "path": path,
        "when": _when(host, path),
        "port": service["port"],
        "https": True,
        "login": _given(service, "login", True),
        "becomes": "",
    }


def _exporter(exporter: Dict) -> Dict:
    """An exporter is a service of which one page is shown, whatever path it has there."""
    planned = _service({**exporter, "path": METRICS_PATH + exporter["name"]})
    return {**planned, "name": "metrics-" + exporter["name"], "becomes": exporter.get("path") or "/metrics"}


def _challenges() -> Dict:
    """Certbot answers the authority on plain HTTP, and nobody logs in for that."""
    planned = _service({"name": "certbot", "path": ACME_PATH, "port": ACME_PORT})
    return {**planned, "https": False, "login": False}


def _names(certbot: Dict | None, apps: list[Dict]) -> list[str]:
    """The names for certbot: those that are given, or else every host of a route."""
    if not certbot:
        return []
    return sorted(set(certbot.get("names") or [app["host"] for app in apps if app["host"]]))


def _given(options: Dict, name: str, default: t.Any) -> t.Any:
    """An option that a validated specification may have filled with None."""
    value = options.get(name)
    return default if value is None else value


def _slashed(path: str) -> str:
    return path.rstrip("/") + "/"


def _when(host: str, path: str) -> str:
    return f"{{ var(txn.path) -m beg {path} }}" + (f" {{ var(txn.host) -m str {host} }}" if host else "")


def _precision(item: Dict) -> tuple[bool, int, str, str]:
    return (item["host"] == "", -len(item["path"]), item["host"], item["path"])


def _ports(app: Dict, serving: Dict | None) -> dict[str, int]:
    ports: dict[str, int] = dict(zip(SLOTS, app["slots"], strict=True))
    if serving:
        ports[serving["slot"]] = serving["port"]
    return ports


def _bytes(size: str) -> int:
    """A checked size such as 10m, in bytes."""
    number = size.rstrip("kmg")
    return int(number) * _UNITS[size[len(number) :]]


def _malformed(apps: list[Dict], services: list[Dict], users: Dict) -> t.Iterator[str]:
    everything = [*apps, *services]
    yield from _bad(NAME, "name", [item["name"] for item in services])
    yield from _bad(_PATH, "path", [path for item in everything for path in _paths(item)])
    yield from _bad(_HOST, "host", [item["host"] for item in everything])
    yield from _bad(_USER, "ingress_users", users)
    for app in apps:
        if not _SIZE.fullmatch(app["max_body"]):
            yield f"max_body of {app['name']}: '{app['max_body']}' is not a size; write bytes, or 512k, 10m, 1g"
        for option in ("timeout", "tunnel_timeout"):
            if app[option] < 1:
                yield f"{option} of {app['name']}: {app[option]} must be a second or more"


def _paths(item: Dict) -> list[str]:
    return [item["path"], *item.get("private_paths", []), *filter(None, [item.get("becomes")])]


def _bad(pattern: t.Pattern[str], option: str, values: t.Iterable[str]) -> list[str]:
    return [f"{option}: '{value}' does not match {pattern.pattern}" for value in values if not pattern.fullmatch(value)]


def _conflicts(apps: list[Dict], services: list[Dict]) -> t.Iterator[str]:
    """What two want, and only one can have; each message names both."""
    named = [("app " + app["name"], app) for app in apps] + [("service " + item["name"], item) for item in services]
    names = [name for name, _unused in named]
    yield from (f"there are two of the {name}" for name in sorted(set(names)) if names.count(name) > 1)
    yield from _shared("route", [(name, item["host"] + item["path"]) for name, item in named])
    # Exporters of one port may well be several pages of it.
    ports = [(name, port) for name, item in named for port in item.get("slots", [])]
    ports += [(name, item["port"]) for name, item in named if "port" in item and not item["becomes"]]
    yield from _shared("port", ports)
    for app in apps:
        for service in services:
            if _hides(service, app):
                yield (
                    f"the app {app['name']} at {app['host']}{app['path']} would never be reached: "
                    f"the service {service['name']} has {service['host']}{service['path']}"
                )


def _shared(what: str, wishes: list[tuple[str, t.Any]]) -> t.Iterator[str]:
    first: dict[t.Any, str] = {}
    for name, wish in wishes:
        if wish in first:
            yield f"the {first[wish]} and the {name} both want the {what} {wish}"
        first.setdefault(wish, name)


def _hides(service: Dict, app: Dict) -> bool:
    """Whether all of an app's requests would go to a service, other than by wanting the same route."""
    if (service["host"], service["path"]) == (app["host"], app["path"]):
        return False
    return service["host"] in ("", app["host"]) and app["path"].startswith(service["path"])


def _misplaced(apps: list[Dict]) -> t.Iterator[str]:
    for app in apps:
        for path in app["private_paths"]:
            if not path.startswith(app["path"]):
                yield f"private_paths of {app['name']}: {path} is not below its route {app['path']}"


def _without_login(services: list[Dict], users: Dict) -> t.Iterator[str]:
    for service in services:
        if service["login"] and not users:
            yield f"the service {service['name']} wants a login, and ingress_users is empty: name a user and a password"


def _without_address(certbot: Dict, apps: list[Dict]) -> t.Iterator[str]:
    if certbot and not _names(certbot, apps):
        yield "ingress_certbot: there is no name to get a certificate for; give names, or an app a route.host"
    if certbot and not certbot.get("email"):
        yield "ingress_certbot: email is missing; the authority writes there when something is wrong"


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """By name."""
        return {"ingress_plan": ingress_plan}
