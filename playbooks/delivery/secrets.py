# SPDX-License-Identifier: Apache-2.0
"""Makes an environment's secrets once: passwords, and the certificate that its hosts know each other by."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from . import private

# What the tracking host is called among the hosts; the inventory has the name too.
TRACKING = "tracking.modelyard.internal"
# Only our own hosts trust it, and they get a new one with any delivery: it need not end soon.
CERTIFICATE_DAYS = 3650


def password() -> str:
    """Return a new password."""
    return secrets.token_urlsafe(18)


def certificate(name: str = TRACKING) -> str:
    """Return a new certificate for a host's name, signed by itself, and its key, as PEM text."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=CERTIFICATE_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private_key = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    return (made.public_bytes(encoding) + private_key).decode()


# The logins behind the ingress, a person's and Prometheus', Grafana's own, and how app hosts know the tracking host;
# group_vars give them to the roles.
MAKERS: dict[str, Callable[[], str]] = {
    "modelyard_admin_password": password,
    "modelyard_grafana_password": password,
    "modelyard_prometheus_password": password,
    "modelyard_tracking_certificate": certificate,
}


def ensure(path: Path) -> list[str]:
    """Add the secrets that the file at `path` does not have yet; return their names."""
    have: dict[str, str] = yaml.safe_load(path.read_text()) if path.exists() else {}
    added = complete(have)
    if added:
        private.write(path, text(have | added))
    return sorted(added)


def complete(have: Mapping[str, str]) -> dict[str, str]:
    """Return new secrets in place of those that are missing."""
    return {name: make() for name, make in MAKERS.items() if name not in have}


def text(have: Mapping[str, str]) -> str:
    """Return secrets as a file of variables."""
    return "---\n# Made by `make secrets`. A person logs in as `admin`.\n" + yaml.safe_dump(dict(have))
