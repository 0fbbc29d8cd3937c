# SPDX-License-Identifier: Apache-2.0
"""The exporter shows the host's figures and other roles' figures, on the loopback address alone."""

from __future__ import annotations

from testinfra.host import Host

from ansible_collections.modelyard.mlops.extensions.molecule.shared.mirror import ADDRESS, VERSION, offer, program_of
from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import CONVERGE, report

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


def test_is_held_and_measures_what_was_asked_for_besides(host: Host) -> None:
    assert host.check_output("apt-mark showhold") == UNIT
    assert "node_processes_threads " in metrics(host)


def test_is_confined(host: Host) -> None:
    with host.sudo():
        host.check_output(f"systemd-analyze security --threshold=30 {UNIT}")


def converge(**variables: object) -> dict[str, int]:
    """Run the scenario's playbook again with other variables; return how many tasks ended how."""
    code, found = report(CONVERGE, **variables)
    assert code == 0, found
    return dict(found["stats"]["host"])


def test_a_release_from_a_mirror_takes_the_place_of_the_package(host: Host) -> None:
    release = {
        "node_exporter_install": "upstream",
        "node_exporter_version": VERSION,
        "node_exporter_sha256": offer(host, "node_exporter", node_exporter=f"/usr/bin/{UNIT}"),
        "node_exporter_base_url": ADDRESS,
    }
    assert converge(**release)["changed"] == 2, "the release, and the unit that names it"
    assert program_of(host, UNIT) == f"/opt/modelyard/node_exporter/{VERSION}/node_exporter"
    assert converge(**release)["changed"] == 0, "and without the mirror nothing is missing"
    assert "node_filesystem_avail_bytes{" in metrics(host)
