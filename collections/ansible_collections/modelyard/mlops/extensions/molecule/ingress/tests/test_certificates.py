# SPDX-License-Identifier: Apache-2.0
"""Certificates are replaced while HAProxy runs: the process stays the same."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from testinfra.host import Host

from .client import Client
from .traffic import Traffic

FOLDER = "/etc/haproxy/certificates"
UNIT = "modelyard-ingress-certificates.service"
NAME = "iris.example.org"

pytestmark = pytest.mark.usefixtures("serving")


def make(host: Host, path: str, name: str = NAME, days: int = 90) -> str:
    """Put a certificate there in one move, as a careful tool does; returns its SHA-1."""
    command = (
        "cd /tmp && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out certificate "
        f"-days {days} -subj /CN={name} -addext subjectAltName=DNS:{name} 2>/dev/null && cat key certificate >both && "
        f"install -m 600 both {path}.new && mv {path}.new {path} && "
        "openssl x509 -in both -noout -fingerprint -sha1"
    )
    with host.sudo():
        return str(host.check_output(command)).partition("=")[2].replace(":", "").lower()


def becomes(client: Client, name: str, wanted: str) -> bool:
    """Whether it is this one within ten seconds."""
    deadline = time.monotonic() + 10
    while client.certificate(name) != wanted:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def process(host: Host) -> str:
    with host.sudo():
        return str(host.check_output("pgrep --parent $(systemctl show --property MainPID --value haproxy) | sort"))


@pytest.fixture(scope="module")
def certificate(host: Host, client: Client) -> Iterator[str]:
    """A certificate for the name, put into the folder."""
    first = make(host, f"{FOLDER}/{NAME}.pem")
    assert becomes(client, NAME, first)
    # A name that is new is a reload; let it end.
    time.sleep(1)
    yield first
    with host.sudo():
        host.check_output(f"rm {FOLDER}/{NAME}.pem")


@pytest.mark.usefixtures("certificate")
def test_replaced_file_is_used_without_a_reload_or_a_lost_request(host: Host, client: Client) -> None:
    before = process(host)
    with Traffic(client.address, tls=True) as traffic:
        for _unused in range(5):
            assert becomes(client, NAME, make(host, f"{FOLDER}/{NAME}.pem"))
    assert process(host) == before
    assert not traffic.lost
    assert traffic.answers > 100


def test_bad_file_changes_nothing_and_is_reported(host: Host, client: Client, certificate: str) -> None:
    used = client.certificate(NAME)
    with host.sudo():
        host.check_output(f"sed -i /PRIVATE/d {FOLDER}/{NAME}.pem")
        assert host.run(f"systemctl start {UNIT}").rc != 0
        assert f"{NAME}.pem: certificate, chain and key" in host.check_output(f"journalctl --unit {UNIT} --lines 20")
    assert client.certificate(NAME) == used != certificate
    assert becomes(client, NAME, make(host, f"{FOLDER}/{NAME}.pem"))


def test_self_signed_certificate_is_renewed_before_it_ends(host: Host, client: Client) -> None:
    ending = make(host, "/etc/haproxy/self-signed.pem", "ending", days=7)
    before = process(host)
    with host.sudo():
        host.check_output(f"systemctl start {UNIT}")
        assert host.service("modelyard-ingress-certificates.timer").is_running
        host.check_output("openssl x509 -in /etc/haproxy/self-signed.pem -noout -checkend 31536000")
    assert client.certificate("unknown.example.org") != ending
    assert process(host) == before
