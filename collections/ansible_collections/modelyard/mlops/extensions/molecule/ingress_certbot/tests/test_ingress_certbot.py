# SPDX-License-Identifier: Apache-2.0
"""Certbot gets certificates from an authority through the ingress, renews them, and gives them up."""

from __future__ import annotations

import socket
import ssl

import pytest
from testinfra.host import Host

from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import converge

ROOT = "/var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt"


@pytest.fixture(scope="module")
def address(host: Host) -> str:
    return str(host.ansible.get_variables()["ansible_host"])


@pytest.fixture(scope="module")
def authority(host: Host) -> ssl.SSLContext:
    with host.sudo():
        return ssl.create_default_context(cadata=host.check_output(f"cat {ROOT}"))


def serial(address: str, name: str, trusting: ssl.SSLContext) -> str:
    """The serial number of the certificate for a name; the handshake fails if it is not the authority's."""
    plain = socket.create_connection((address, 443), 10)
    with trusting.wrap_socket(plain, server_hostname=name) as connection:
        certificate = connection.getpeercert()
    assert certificate
    return str(certificate["serialNumber"])


def process(host: Host) -> str:
    return str(host.check_output("pgrep --parent $(systemctl show --property MainPID --value haproxy)"))


def test_each_host_has_a_certificate_of_the_authority(address: str, authority: ssl.SSLContext) -> None:
    assert serial(address, "iris.example.org", authority) != serial(address, "wine.example.org", authority)


def test_browsers_are_not_told_to_come_by_https_alone(address: str, authority: ssl.SSLContext) -> None:
    plain = socket.create_connection((address, 443), 10)
    with authority.wrap_socket(plain, server_hostname="iris.example.org") as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: iris.example.org\r\nConnection: close\r\n\r\n")
        answer = connection.makefile("rb").read().decode().lower()
    assert "x-request-id" in answer
    assert "strict-transport-security" not in answer


def test_timer_renews(host: Host) -> None:
    assert host.service("certbot.timer").is_enabled


def test_renewed_certificate_is_used_without_a_reload(host: Host, address: str, authority: ssl.SSLContext) -> None:
    first = serial(address, "iris.example.org", authority)
    with host.sudo():
        before = process(host)
        host.check_output(
            "certbot renew --quiet --force-renewal --cert-name iris.example.org --no-random-sleep-on-renew"
        )
        assert process(host) == before
    assert serial(address, "iris.example.org", authority) != first


def test_other_certificates_of_certbot_are_left_alone_and_unused_ones_given_up(
    host: Host, address: str, authority: ssl.SSLContext
) -> None:
    with host.sudo():
        theirs = "/etc/letsencrypt/renewal/mail.example.org.conf"
        host.check_output(f"printf '[renewalparams]\\nrenew_hook = true\\n' >{theirs}")
        converge(all_names=False)
        assert not host.file("/etc/letsencrypt/renewal/wine.example.org.conf").exists
        assert not host.file("/etc/haproxy/certificates/wine.example.org.pem").exists
        assert host.file(theirs).exists
        host.check_output(f"rm {theirs}")
    with pytest.raises(ssl.SSLCertVerificationError):
        serial(address, "wine.example.org", authority)
    assert serial(address, "iris.example.org", authority)
