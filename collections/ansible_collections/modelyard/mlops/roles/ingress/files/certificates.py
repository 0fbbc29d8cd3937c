# Made by the role modelyard.mlops.ingress.
# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps the certificates of the ingress, and puts them into the running HAProxy without a reload.

ingress-certificates check FOLDER     refuse PEM files that HAProxy could not use
ingress-certificates keep             have HAProxy use what is in the folders now; where the certificate that no client
                                      trusts is missing, or ends soon, make a new one
ingress-certificates deploy           certbot's deploy hook: take $RENEWED_LINEAGE over, then keep
ingress-certificates remove NAME      forget one that certbot kept, then keep
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

CONFIGURATION = Path("/etc/haproxy")
SELF_SIGNED = CONFIGURATION / "self-signed.pem"
# In the first is what others bring, certbot among them; in the second what the role's variables hold.
FOLDERS = (CONFIGURATION / "certificates", CONFIGURATION / "certificates/modelyard")
ADMIN_SOCKET = "/run/haproxy/admin.sock"
# Where node_exporter, if there is one, finds the figures of others.
FIGURES = Path("/var/lib/modelyard/textfile/ingress.prom")
LOCK = "/run/lock/modelyard-ingress-certificates"

DAYS = 397
RENEW_DAYS = 30

Fingerprint = str


class CertificateError(Exception):
    """Something that a person has to mend; the text names the file."""


def fingerprint(pem: str) -> Fingerprint:
    """SHA-1 of the first certificate, as HAProxy writes it."""
    match = re.search(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", pem, re.DOTALL)
    if not match:
        raise CertificateError("has no certificate")
    return hashlib.sha1(ssl.PEM_cert_to_DER_cert(match[0])).hexdigest().upper()


def check(path: Path) -> None:
    """Refuse a file without certificate or key, and a key that belongs to another certificate."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, password="")
    except (ssl.SSLError, OSError) as error:
        raise CertificateError(
            f"{path.name}: certificate, chain and key must be in one PEM file, and the key must be "
            f"the certificate's ({error})"
        ) from error


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file as a whole; HAProxy and node_exporter ignore the name that it has until then."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
        stream.flush()
        os.fchmod(stream.fileno(), mode)
        os.fsync(stream.fileno())
    temporary.replace(path)


def is_good(path: Path) -> bool:
    """Whether HAProxy could use the file."""
    try:
        check(path)
    except CertificateError:
        return False
    return True


def end(path: Path) -> int:
    """When a certificate ends, in seconds since 1970."""
    show = ["openssl", "x509", "-noout", "-enddate", "-in", str(path)]
    return ssl.cert_time_to_seconds(subprocess.check_output(show, text=True).strip().partition("=")[2])


def figures(ends: dict[str, int]) -> str:
    """What node_exporter shows of the certificates, by file."""
    name = "modelyard_certificate_end_timestamp_seconds"
    samples = "".join(f'{name}{{file="{file}"}} {seconds}\n' for file, seconds in sorted(ends.items()))
    return f"# HELP {name} When a certificate of the ingress ends.\n# TYPE {name} gauge\n{samples}"


def renew_self_signed() -> None:
    """Make the self-signed certificate where there is none that lasts."""
    seconds = str(RENEW_DAYS * 86400)
    ends = ["openssl", "x509", "-checkend", seconds, "-noout", "-in", str(SELF_SIGNED)]
    if SELF_SIGNED.exists() and subprocess.run(ends, capture_output=True, check=False).returncode == 0:
        return
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = Path(folder, "key"), Path(folder, "certificate")
        make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        make += ["-days", str(DAYS), "-subj", f"/CN={socket.gethostname()[:64]}"]
        make += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        done = subprocess.run([*make, "-keyout", key, "-out", certificate], capture_output=True, text=True, check=False)
        if done.returncode:
            raise CertificateError(f"openssl made no certificate: {done.stderr.strip()}")
        write(SELF_SIGNED, key.read_text() + certificate.read_text())


class Haproxy:
    """The running process, behind its admin socket."""

    def __init__(self, path: str = ADMIN_SOCKET) -> None:
        self._path = path

    def command(self, line: str) -> str:
        """Send one command, return the whole answer."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(10)
            connection.connect(self._path)
            connection.sendall(line.encode() + b"\n")
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def certificates(self) -> set[Path] | None:
        """The files that it has read; None where nothing runs that we could ask."""
        try:
            lines = self.command("show ssl cert").splitlines()
        except OSError:
            return None
        # An asterisk marks a change that was begun and not committed.
        return {Path(line.lstrip("*")) for line in lines if line and not line.startswith("#")}

    def fingerprint(self, path: Path) -> Fingerprint:
        """Of the certificate that it uses under the name of this file."""
        match = re.search(r"SHA1 FingerPrint: (\w+)", self.command(f"show ssl cert {path}"))
        return match[1] if match else ""

    def replace(self, path: Path, pem: str) -> None:
        """Use another certificate from the next handshake on; what is open goes on."""
        lines = "\n".join(line for line in pem.splitlines() if line.strip())
        answer = self.command(f"set ssl cert {path} <<\n{lines}\n") + self.command(f"commit ssl cert {path}")
        if self.fingerprint(path) != fingerprint(pem):
            self.command(f"abort ssl cert {path}")
            raise CertificateError(f"{path}: HAProxy did not take it: {answer.strip()}")

    def reload(self) -> None:
        """Have it read everything again, for a name that is new or gone."""
        subprocess.run(["systemctl", "reload", "haproxy.service"], check=True)


def wanted() -> dict[Path, int]:
    """The files that HAProxy shall use, each with the time of its last change."""
    files = [path for folder in FOLDERS for path in sorted(folder.glob("[!.]*.pem"))]
    return {path: path.stat().st_mtime_ns for path in [SELF_SIGNED, *files]}


def sync(haproxy: Haproxy, files: Iterable[Path]) -> None:
    """Have the running HAProxy use the files as they are now, the good ones even if one is bad."""
    used = haproxy.certificates()
    if used is None:
        print("HAProxy does not answer yet; it reads its certificates when it starts")
        return
    problems = []
    for path in files:
        try:
            check(path)
            pem = path.read_text()
            if path in used and haproxy.fingerprint(path) != fingerprint(pem):
                haproxy.replace(path, pem)
                print(f"{path}: replaced")
        except CertificateError as error:
            problems.append(str(error))
    if problems:
        # A reload with a bad file would fail as a whole.
        raise CertificateError("; ".join(problems))
    if {path for path in used if path.parent in FOLDERS} != {path for path in files if path.parent in FOLDERS}:
        haproxy.reload()
        print("reloaded, as a certificate is new or gone")


def keep(haproxy: Haproxy) -> None:
    """Sync until the files have not changed meanwhile: somebody may just be writing them."""
    renew_self_signed()
    while True:
        files = wanted()
        if FIGURES.parent.is_dir():
            # A file that is no certificate is sync's to name.
            good = [path for path in files if is_good(path)]
            write(FIGURES, figures({path.name: end(path) for path in good}), 0o644)
        try:
            sync(haproxy, files)
        except (CertificateError, OSError):
            if wanted() == files:
                raise
        if wanted() == files:
            return


def take_over(lineage: Path) -> None:
    """Make one file of certbot's two, in the folder that HAProxy reads."""
    parts = [(lineage / part).read_text() for part in ("privkey.pem", "fullchain.pem")]
    write(FOLDERS[0] / f"{lineage.name}.pem", "".join(parts))


def main(arguments: list[str]) -> None:
    """Do what the arguments say."""
    verb, *rest = arguments or ["help"]
    if verb == "check":
        for path in sorted(Path(rest[0]).rglob("[!.]*.pem")):
            check(path)
        return
    if verb not in ("keep", "deploy", "remove"):
        raise CertificateError(f"{verb}: not a verb\n{__doc__}")
    with open(LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if verb == "deploy":
            take_over(Path(os.environ["RENEWED_LINEAGE"]))
        if verb == "remove":
            (FOLDERS[0] / f"{rest[0]}.pem").unlink(missing_ok=True)
        keep(Haproxy())


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except CertificateError as error:
        sys.exit(f"ingress-certificates: {error}")
