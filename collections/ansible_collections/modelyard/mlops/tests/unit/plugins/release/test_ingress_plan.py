# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""ingress_plan: routes in the order of their precision, and a refusal that names all that is wrong."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.modelyard.mlops.plugins.filter.ingress_plan import ingress_plan


def app(name: str, port: int, **options: object) -> dict[str, object]:
    return {"name": name, "slots": [port, port + 1], **options}


def test_hosts_come_before_none_and_long_paths_before_short() -> None:
    apps = [
        app("root", 18001),
        app("deep", 18003, route={"path": "/a/b"}),
        app("short", 18005, route={"path": "/a/"}),
        app("host", 18007, route={"host": "x.example.org"}),
    ]
    planned = ingress_plan(apps)["apps"]
    assert [item["name"] for item in planned] == ["host", "deep", "short", "root"]
    assert [item["path"] for item in planned] == ["/", "/a/b/", "/a/", "/"]


def test_nothing_is_a_plan() -> None:
    assert ingress_plan([]) == {"apps": [], "services": []}


def test_service_wants_a_login_by_itself() -> None:
    services = [{"name": "grafana", "path": "/grafana/", "port": 3000}]
    expected = {"name": "grafana", "path": "/grafana/", "port": 3000, "login": True}
    assert ingress_plan([], services, {"admin": "x"})["services"] == [expected]


@pytest.mark.parametrize(
    ("apps", "services", "users", "message"),
    [
        ([app("Iris", 18001)], [], {}, "name: 'Iris' does not match"),
        ([app("iris", 18001, route={"path": "/a b"})], [], {}, "path: '/a b/' does not match"),
        ([app("iris", 18001, private_paths=["metrics"])], [], {}, "path: 'metrics/' does not match"),
        ([app("iris", 18001, route={"host": "a } b"})], [], {}, "route.host: 'a } b' does not match"),
        ([app("iris", 18001), app("iris", 18003, route={"path": "/b"})], [], {}, "the app iris is there twice"),
        ([app("iris", 18001), app("wine", 18003)], [], {}, "the route / is there twice"),
        ([app("iris", 18001), app("wine", 18002, route={"path": "/b"})], [], {}, "the port 18002 is there twice"),
        ([{"name": "iris", "slots": [18001]}], [], {}, r"iris needs two slots, not \[18001\]"),
        (
            [],
            [{"name": "grafana", "path": "/g", "port": 3000}],
            {},
            "grafana wants a login, and ingress_users is empty",
        ),
        ([], [], {"a\nb": "x"}, "ingress_users: 'a\nb' does not match"),
    ],
)
def test_what_does_not_fit_is_refused(
    apps: list[dict[str, object]], services: list[dict[str, object]], users: dict[str, str], message: str
) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        ingress_plan(apps, services, users)
