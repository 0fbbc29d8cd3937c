# SPDX-License-Identifier: Apache-2.0
"""The exporter shows the host's figures and other roles' figures, on the loopback address alone."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from testinfra.host import Host

UNIT = "prometheus-node-exporter"
URL = "http://127.0.0.1:9100/metrics"


def metrics(host: Host) -> str:
    script = f"import urllib.request as u; print(u.urlopen('{URL}').read().decode())"
    return str(host.check_output(f'python3 -c "{script}"'))


def test_runs_now_and_at_boot(host: Host) -> None:
    assert host.service(UNIT).is_running
    assert host.service(UNIT).is_enabled


def test_listens_on_loopback_alone(host: Host) -> None:
    addresses = {line.split()[3] for line in host.check_output("ss -Hlnt").splitlines() if ":9100" in line}
    assert addresses == {"127.0.0.1:9100"}


def test_shows_the_host_and_what_other_roles_leave(host: Host) -> None:
    with host.sudo():
        host.check_output("echo 'modelyard_test 42' > /var/lib/modelyard/textfile/test.prom")
    page = metrics(host)
    assert "modelyard_test 42" in page
    assert "node_filesystem_avail_bytes{" in page
    with host.sudo():
        host.check_output("rm /var/lib/modelyard/textfile/test.prom")


def test_is_confined(host: Host) -> None:
    with host.sudo():
        host.check_output(f"systemd-analyze security --threshold=30 {UNIT}")


# What upstream's release looks like, made of the package's program and served by the host itself.
MIRROR = """
set -e
release=node_exporter-1.5.0.linux-$1
mkdir -p /srv/mirror/v1.5.0 /tmp/$release
cp /usr/bin/prometheus-node-exporter /tmp/$release/node_exporter
tar -czf /srv/mirror/v1.5.0/$release.tar.gz -C /tmp $release
systemctl is-active --quiet mirror ||
  systemd-run --quiet --unit=mirror python3 -m http.server --bind 127.0.0.1 --directory /srv/mirror 8404
sha256sum /srv/mirror/v1.5.0/$release.tar.gz | cut -d' ' -f1
"""


def converge(**variables: object) -> dict[str, int]:
    """Run the scenario's playbook again with other variables; return how many tasks ended how."""
    playbook = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]) / "converge.yml"
    inventory = os.environ["MOLECULE_INVENTORY_FILE"]
    done = subprocess.run(
        ["ansible-playbook", "-i", inventory, "-e", json.dumps(variables), str(playbook)],
        env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_DEPRECATION_WARNINGS": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout[done.stdout.index("{") :])
    assert done.returncode == 0, done.stdout[-4000:]
    return dict(report["stats"]["host"])


def test_a_release_from_a_mirror_takes_the_place_of_the_package(host: Host) -> None:
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[host.check_output("uname -m")]
    with host.sudo():
        sha256 = host.check_output("sh -c %s mirror %s", MIRROR, architecture)
    release = {
        "node_exporter_install": "upstream",
        "node_exporter_version": "1.5.0",
        "node_exporter_sha256": {architecture: sha256},
        "node_exporter_base_url": "http://127.0.0.1:8404",
    }
    assert converge(**release)["changed"] == 2, "the release, and the unit that names it"
    with host.sudo():
        pid = host.service(UNIT).systemd_properties["MainPID"]
        assert host.check_output(f"readlink /proc/{pid}/exe") == "/opt/modelyard/node_exporter/1.5.0/node_exporter"
        host.check_output("systemctl stop mirror")
    assert converge(**release)["changed"] == 0, "and without the mirror nothing is missing"
    assert "node_filesystem_avail_bytes{" in metrics(host)
