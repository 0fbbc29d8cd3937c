# SPDX-License-Identifier: Apache-2.0
"""The configuration changes under load, and other people's is respected. Last, as it moves apps about."""

from __future__ import annotations

import re

import pytest
from testinfra.host import Host

from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import converge, refused
from ansible_collections.modelyard.mlops.extensions.molecule.shared.traffic import Traffic

from .client import Client, basic
from .machine import until

CONFIGURATION = "/etc/haproxy/haproxy.cfg"
RELOADS = 20

pytestmark = pytest.mark.usefixtures("serving")


def iris(*slots: int) -> dict[str, object]:
    return {"name": "iris", "slots": list(slots)}


def pem(host: Host) -> str:
    with host.sudo():
        return str(host.check_output("cat /etc/haproxy/self-signed.pem"))


def test_changes_lose_no_request(host: Host, client: Client) -> None:
    tunnel = client.tunnel("/predict")
    with Traffic(client.address) as plain, Traffic(client.address, tls=True) as encrypted:
        # Other slots for what serves, an app less, a certificate more.
        converge(apps=[iris(18091, 18092)], certificates={"wine.example.org": pem(host)})
        assert client.get("/predict").json["port"] == 18081, "what serves stays where it is"
        assert client.get("/wine/x", Host="wine.example.org").json["port"] == 18081, "an app less"
        with host.sudo():
            assert "18092" in host.check_output(f"cat {CONFIGURATION}")
            host.check_output(f"for i in $(seq {RELOADS}); do systemctl reload haproxy; sleep 0.2; done")
        converge()
    assert not plain.lost + encrypted.lost
    assert plain.answers.total() > 500
    assert encrypted.answers.total() > 500
    tunnel.sendall(b"still here")
    assert tunnel.recv(99) == b"still here"


def test_foreign_configuration_is_refused_or_put_aside(host: Host, client: Client) -> None:
    with host.sudo():
        host.check_output(f"sed -i '1i # by hand' {CONFIGURATION}")
        host.check_output(
            "printf 'defaults theirs\\n mode http\\n timeout client 5s\\nfrontend theirs\\n bind 127.0.0.1:8500\\n"
            " http-request return status 200 content-type text/plain string theirs\\n' >/etc/haproxy/conf.d/theirs.cfg"
        )
        before = host.check_output(f"sha256sum {CONFIGURATION}")
        assert "/etc/haproxy/haproxy.cfg was not written by this role" in refused()
        assert host.check_output(f"sha256sum {CONFIGURATION}") == before
        output = converge(take_over=True)
        assert host.check_output(f"head -1 {CONFIGURATION}.before-modelyard") == "# by hand"
    fetch = "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:8500\").read().decode())'"
    assert host.check_output(fetch) == "theirs"
    assert client.get("/grafana", tls=True, Authorization=basic("admin", "a long canary_secret")).status == 200
    executed = re.search(r"ok=(\d+)", output)
    assert executed
    assert int(executed[1]) <= 12 + len(["include_role", "the copy that is put aside"])


def test_option_of_an_app_that_cannot_be_is_named_before_anything_changes(host: Host) -> None:
    with host.sudo():
        before = host.check_output(f"sha256sum {CONFIGURATION}")
        output = refused(apps=[iris(18093, 18094) | {"memory": "lots", "image": "iris:latest"}])
        assert "ingress_apps: iris: memory: 'lots' is no size: write a number and k, m or g" in output
        assert "ingress_apps: iris: image: 'iris:latest' says latest" in output
        assert host.check_output(f"sha256sum {CONFIGURATION}") == before


def test_port_that_something_else_has_taken_is_named_before_anything_changes(host: Host, client: Client) -> None:
    with host.sudo():
        before = host.check_output(f"sha256sum {CONFIGURATION}")
        host.check_output(
            "systemctl stop haproxy && systemd-run --quiet --unit squatter python3 -m http.server --bind 127.0.0.1 80"
        )
        assert until(lambda: "127.0.0.1:80 " in host.check_output("ss --listening --tcp --numeric"))
        output = refused(apps=[iris(18081, 18082)])
        assert re.search(r"port 80 is taken by python3 \(process \d+, squatter.service\), and HAProxy needs it", output)
        assert host.check_output(f"sha256sum {CONFIGURATION}") == before
        host.check_output("systemctl stop squatter && systemctl start haproxy")
    assert client.get("/predict").status == 200
