# SPDX-License-Identifier: Apache-2.0
"""Images that come from elsewhere than the controller's engine."""

from __future__ import annotations

import typing as t
import uuid
from pathlib import Path

import pytest
from testinfra.host import Host

from ansible_collections.modelyard.mlops.extensions.molecule.image_transfer.build import (
    MIB,
    digest,
    parts,
    write_layout,
)
from ansible_collections.modelyard.mlops.extensions.molecule.image_transfer.harness import FIRST, IMAGES, inspect, run

REGISTRY = "127.0.0.1:5000"
PASSWORD = uuid.uuid4().hex
SET_UP = f"""
export DEBIAN_FRONTEND=noninteractive
apt-get -qq install --yes --no-install-recommends docker-registry >/dev/null
python3 -c 'import crypt; print("reader:" + crypt.crypt("{PASSWORD}", crypt.mksalt(crypt.METHOD_BLOWFISH)))' \
    >/etc/docker/registry/users 2>/dev/null
cat >/etc/docker/registry/config.yml <<'END'
version: 0.1
storage: {{filesystem: {{rootdirectory: /var/lib/docker-registry}}}}
http: {{addr: "{REGISTRY}"}}
auth: {{htpasswd: {{realm: test, path: /etc/docker/registry/users}}}}
END
chmod 0644 /etc/docker/registry/users
systemctl restart docker-registry
reach='import socket; socket.create_connection(("127.0.0.1", 5000))'
for wait in $(seq 50); do python3 -c "$reach" 2>/dev/null && break; sleep 0.1; done
echo {PASSWORD} | docker --config /tmp/login login --username reader --password-stdin {REGISTRY}
docker tag {FIRST} {REGISTRY}/app:one
docker --config /tmp/login push --quiet {REGISTRY}/app:one >/dev/null
docker image inspect --format '{{{{index .RepoDigests 0}}}}' {REGISTRY}/app:one >/tmp/reference
docker image rm {REGISTRY}/app:one >/dev/null
rm -r /tmp/login
"""


@pytest.fixture
def reference(first: Host, tmp_path: Path) -> t.Iterator[str]:
    """Debian's registry on the host, which asks for a password, and an image in it by its digest."""
    run(tmp_path, "first", [FIRST])
    with first.sudo():
        done = first.run("sh -euc %s", SET_UP)
        assert done.rc == 0, done.stderr
        yield first.check_output("cat /tmp/reference")
        first.check_output("systemctl stop docker-registry")
    run(tmp_path, "first", [FIRST])


def test_oci_layout(first: Host, tmp_path: Path) -> None:
    """No engine takes part on this side; layers that the host knows from other sources stay at home."""
    name = f"{IMAGES}:layout"
    config, layers = parts(f"commit {uuid.uuid4()}")
    write_layout(tmp_path, name, config, layers)
    image = {"name": name, "source": "oci", "path": str(tmp_path)}
    report = run(tmp_path, "first", [image])["first"]["images"][name]
    assert (report["key"], report["path"], report["layers_sent"]) == (digest(config), "thin", 1)
    assert report["bytes_sent"] < MIB
    assert inspect(first, name)["Id"] == digest(config)
    assert not run(tmp_path, "first", [image])["first"]["changed"]


def test_registry_by_digest(first: Host, tmp_path: Path, reference: str) -> None:
    """The host pulls by itself, and nobody can pull there afterwards."""
    name = f"{IMAGES}:pulled"
    key = inspect(first, FIRST)["Id"]
    first.check_output(f"docker image rm --force {key}")
    image = {"name": name, "source": "registry", "reference": reference}
    credentials = {REGISTRY: {"username": "reader", "password": PASSWORD}}
    refused = run(tmp_path, "first", [image], credentials={REGISTRY: {"username": "reader", "password": "another"}})
    pulled = run(tmp_path, "first", [image], credentials=credentials)["first"]
    again = run(tmp_path, "first", [image], credentials=credentials)["first"]
    assert refused["first"]["failed"]
    assert pulled["images"][name]["key"] == inspect(first, name)["Id"] == key
    assert not again["changed"]
    assert PASSWORD not in str(pulled)
    assert first.run(f"grep -rl {PASSWORD} /root /home /etc/docker /var/lib/modelyard").stdout == ""
    first.check_output(f"docker image rm --force {key}")
    assert first.run(f"docker pull {reference}").rc != 0
