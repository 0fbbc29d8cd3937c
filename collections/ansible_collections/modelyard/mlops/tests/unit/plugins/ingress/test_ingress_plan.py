# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""ingress_plan: routes in the order of their precision, and a refusal that names all that is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.modelyard.mlops.plugins.filter.ingress_plan import ingress_plan

GRAFANA = {"name": "grafana", "path": "/grafana", "port": 3000}
USERS = {"admin": "x"}


def app(name: str, port: int, **options: object) -> dict[str, object]:
    return {"name": name, "slots": [port, port + 1], **options}


def planned(**route: object) -> Any:
    return ingress_plan([app("iris", 18001, route=route)])["apps"][0]


def test_hosts_come_before_none_and_long_paths_before_short() -> None:
    apps = [
        app("root", 18001),
        app("deep", 18003, route={"path": "/a/b"}),
        app("short", 18005, route={"path": "/a/"}),
        app("host", 18007, route={"host": "x.example.org"}),
    ]
    found = ingress_plan(apps)["apps"]
    assert [item["name"] for item in found] == ["host", "deep", "short", "root"]
    assert found[0]["when"] == "{ var(txn.path) -m beg / } { var(txn.host) -m str x.example.org }"
    assert found[1]["when"] == "{ var(txn.path) -m beg /a/b/ }"


def test_nothing_is_a_plan() -> None:
    assert ingress_plan([]) == {"apps": [], "services": [], "names": [], "grace": 3600}


def test_app_has_the_defaults_of_the_role() -> None:
    found = planned(timeout=None)
    assert (found["timeout"], found["tunnel_timeout"], found["max_body"]) == (60, 3600, 10 * 1024**2)
    assert (found["https"], found["strip_path"]) == (True, False)
    assert ingress_plan([app("iris", 18001)], https_redirect=False)["apps"][0]["https"] is False


@pytest.mark.parametrize(("size", "count"), [("0", 0), (512, 512), ("20k", 20480), ("1g", 1024**3)])
def test_size_becomes_bytes(size: object, count: int) -> None:
    assert planned(max_body=size)["max_body"] == count


def test_former_process_may_finish_what_takes_longest() -> None:
    apps = [app("iris", 18001, route={"timeout": 7200}), app("wine", 18003, route={"path": "/w"})]
    assert ingress_plan(apps)["grace"] == 7200


def test_slot_that_serves_stays_where_it_is() -> None:
    serving = {"iris": {"slot": "green", "port": 17002}, "gone": {"slot": "blue", "port": 17003}}
    assert ingress_plan([app("iris", 18001)], serving=serving)["apps"][0]["ports"] == {"blue": 18001, "green": 17002}


def test_service_wants_a_login_by_itself() -> None:
    found = ingress_plan([], [GRAFANA], users=USERS)["services"][0]
    assert (found["path"], found["login"], found["https"], found["becomes"]) == ("/grafana/", True, True, "")


def test_exporter_is_a_service_with_one_page() -> None:
    metrics = [
        {"name": "node", "port": 9100},
        {"name": "iris", "port": 8404, "path": "/apps/iris/metrics"},
        {"name": "haproxy", "port": 8404},
    ]
    found = {item["name"]: item for item in ingress_plan([], metrics=metrics, users=USERS)["services"]}
    assert found["metrics-node"]["path"] == "/-/metrics/node/"
    assert found["metrics-node"]["becomes"] == "/metrics"
    assert found["metrics-iris"]["becomes"] == "/apps/iris/metrics"
    assert all(item["login"] and item["https"] for item in found.values())


def test_certbot_answers_for_the_hosts_of_the_routes_without_https_and_login() -> None:
    plan = ingress_plan([app("iris", 18001, route={"host": "x.example.org"})], certbot={"email": "a@example.org"})
    assert plan["names"] == ["x.example.org"]
    service = plan["services"][0]
    assert (service["path"], service["https"], service["login"]) == ("/.well-known/acme-challenge/", False, False)
    named = {"email": "a@example.org", "names": ["y.example.org"]}
    assert ingress_plan([], certbot=named)["names"] == ["y.example.org"]


@pytest.mark.parametrize(
    ("apps", "others", "message"),
    [
        ([app("Iris", 18001)], {}, "ingress_apps: Iris: name: 'Iris' is no app name"),
        ([app("iris", 18001, route={"path": "/a b"})], {}, "path: '/a b/' does not match"),
        ([app("iris", 18001, private_paths=["metrics"])], {}, "path: 'metrics/' does not match"),
        (
            [app("iris", 18001, route={"path": "/i"}, private_paths=["/metrics"])],
            {},
            "private_paths of iris: /metrics/ is not below its route /i/",
        ),
        ([app("iris", 18001, route={"host": "a } b"})], {}, "host: 'a } b' does not match"),
        ([app("iris", 18001, route={"max_body": "10 MB"})], {}, "max_body of iris: '10 MB' is not a size"),
        ([app("iris", 18001, route={"timeout": 0})], {}, "timeout of iris: 0 must be a second or more"),
        ([app("iris", 18001), app("iris", 18003, route={"path": "/b"})], {}, "there are two of the app iris"),
        ([app("iris", 18001), app("wine", 18003)], {}, "the app iris and the app wine both want the route /"),
        (
            [app("iris", 18001), app("wine", 18002, route={"path": "/b"})],
            {},
            "the app iris and the app wine both want the port 18002",
        ),
        ([{"name": "iris", "slots": [18001]}], {}, r"ingress_apps: iris: slots: \[18001\] must be two"),
        ([app("iris", 80)], {}, r"ingress_apps: iris: slots: \[80, 81\] must be two different ports"),
        ([app("iris", 18001, memory="lots")], {}, "ingress_apps: iris: memory: 'lots' is no size"),
        ([app("iris", 18001, image="iris:latest")], {}, "ingress_apps: iris: image: 'iris:latest' says latest"),
        ([app("iris", 18001, secrets={"a/b": "x"})], {}, "ingress_apps: iris: secrets: 'a/b' cannot be a file name"),
        ([], {"services": [{**GRAFANA, "name": "Grafana"}]}, "name: 'Grafana' does not match"),
        ([], {"services": [GRAFANA]}, "grafana wants a login, and ingress_users is empty"),
        ([], {"metrics": [{"name": "node", "port": 9100}]}, "metrics-node wants a login"),
        ([], {"users": {"a\nb": "x"}}, "ingress_users: 'a\nb' does not match"),
        (
            [app("iris", 18001, route={"path": "/grafana"})],
            {"services": [GRAFANA], "users": USERS},
            "the app iris and the service grafana both want the route /grafana/",
        ),
        (
            [app("iris", 18001, route={"path": "/grafana/x", "host": "x.example.org"})],
            {"services": [GRAFANA], "users": USERS},
            "the app iris at x.example.org/grafana/x/ would never be reached: the service grafana has /grafana/",
        ),
        (
            [app("iris", 3000)],
            {"services": [GRAFANA], "users": USERS},
            "the app iris and the service grafana both want the port 3000",
        ),
        ([], {"certbot": {"email": "a@example.org"}}, "ingress_certbot: there is no name"),
        ([], {"certbot": {"names": ["x.example.org"]}}, "ingress_certbot: email is missing"),
    ],
)
def test_what_does_not_fit_is_refused(apps: list[dict[str, object]], others: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        ingress_plan(apps, **others)
