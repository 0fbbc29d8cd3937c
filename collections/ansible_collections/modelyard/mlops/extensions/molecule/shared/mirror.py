# SPDX-License-Identifier: Apache-2.0
"""A mirror of a product's releases on a host itself, with one release that is made of its package's programs."""

from __future__ import annotations

from testinfra.host import Host

VERSION = "0.9.9"
PORT = 8405
ADDRESS = f"http://127.0.0.1:{PORT}"

# $1 product, $2 architecture, $3 version, $4 port, then pairs of a program and its name in the release.
OFFER = """
set -e
product=$1 version=$3 port=$4 release=$1-$3.linux-$2
mkdir -p /srv/mirror/v$version /tmp/$release
shift 4
while [ $# -gt 0 ]; do cp "$1" "/tmp/$release/$2"; shift 2; done
tar -czf /srv/mirror/v$version/$release.tar.gz -C /tmp $release
systemd-run --quiet --unit=mirror python3 -m http.server --bind 127.0.0.1 --directory /srv/mirror "$port"
sha256sum /srv/mirror/v$version/$release.tar.gz | cut -d' ' -f1
"""


def offer(host: Host, product: str, **programs: str) -> dict[str, str]:
    """Offer the release at the address until the unit `mirror` is stopped; return its sum by architecture.

    :param programs: the paths of the programs on the host, by the names that they have in a release.
    """
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[host.check_output("uname -m")]
    words = [product, architecture, VERSION, str(PORT)]
    words += [word for name, path in programs.items() for word in (path, name)]
    with host.sudo():
        sha256 = host.check_output("sh -c %s offer" + " %s" * len(words), OFFER, *words)
    return {architecture: sha256}


def program_of(host: Host, unit: str) -> str:
    """Return the path of the program that a unit runs; the mirror is no longer needed, and gone."""
    with host.sudo():
        host.check_output("systemctl stop mirror")
        pid = host.service(unit).systemd_properties["MainPID"]
        return str(host.check_output(f"readlink /proc/{pid}/exe"))
