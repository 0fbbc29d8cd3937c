# SPDX-License-Identifier: Apache-2.0
"""All that Grafana will read is in place, closed, and follows the code."""

from __future__ import annotations

import base64
import configparser
from pathlib import Path

import yaml
from testinfra.host import Host

from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import converge, refused

CONFIG = "/etc/modelyard/grafana"
ROLE = Path(__file__).resolve().parents[4] / "roles" / "grafana"


def text(host: Host, path: str) -> str:
    with host.sudo():
        return str(host.file(f"{CONFIG}/{path}").content_string)


def test_the_settings_are_secure(host: Host) -> None:
    ini = configparser.RawConfigParser()
    ini.read_string(text(host, "grafana.ini"))
    assert ini["server"]["http_addr"] == "127.0.0.1"
    assert ini["server"]["root_url"] == "https://ops.example.org/graphs/"
    assert ini["server"]["serve_from_sub_path"] == "true"
    assert ini["server"]["domain"] == "ops.example.org"
    assert ini["users"]["allow_sign_up"] == "false"
    assert ini["auth.anonymous"]["enabled"] == "false"
    assert ini["analytics"]["reporting_enabled"] == "false"
    assert ini["security"]["admin_password"] == f"$__file{{{CONFIG}/secrets/admin_password}}"


def test_the_password_is_in_one_file_that_only_grafana_reads(host: Host) -> None:
    with host.sudo():
        secret = host.file(f"{CONFIG}/secrets/admin_password")
        assert (secret.mode, secret.user, secret.group) == (0o640, "root", "grafana")
        found = host.check_output(f"grep -rl canary_secret {CONFIG} | sort")
    assert found.split() == [f"{CONFIG}/secrets/admin_password", f"{CONFIG}/secrets/chat_url"]


def test_alerting_is_provisioned_and_what_code_no_longer_has_is_asked_to_go(host: Host) -> None:
    provisioned = yaml.safe_load(text(host, "provisioning/alerting/modelyard.yml"))
    assert set(provisioned) == {"apiVersion", "contactPoints", "policies", "muteTimes"}
    converge(alerting={})
    assert yaml.safe_load(text(host, "provisioning/alerting/modelyard.yml")) == {
        "apiVersion": 1,
        "deleteContactPoints": [{"orgId": 1, "uid": "chat"}],
        "deleteMuteTimes": [{"orgId": 1, "name": "weekends"}],
        "resetPolicies": [1],
    }


def test_the_data_source_has_the_uid_that_dashboards_name(host: Host) -> None:
    sources = yaml.safe_load(text(host, "provisioning/datasources/modelyard.yml"))["datasources"]
    assert [(source["uid"], source["url"]) for source in sources] == [
        ("prometheus", "http://127.0.0.1:9090/watch/"),
        ("logs", "http://127.0.0.1:3100"),
    ]


def test_each_provider_has_its_dashboards(host: Host) -> None:
    providers = yaml.safe_load(text(host, "provisioning/dashboards/modelyard.yml"))["providers"]
    found = {}
    for provider in providers:
        with host.sudo():
            found[provider["folder"]] = sorted(host.check_output(f"ls {provider['options']['path']}").split())
    own = sorted(path.name for path in (ROLE / "files" / "dashboards").glob("*.json"))
    assert found == {"Modelyard": own, "Vision team": ["team.json"]}


def test_a_folder_without_dashboards_is_refused(tmp_path: Path) -> None:
    assert f"grafana_dashboards_dir is {tmp_path}, and no dashboard" in refused(dashboards_dir=str(tmp_path))


def test_a_removed_dashboard_is_removed(host: Host) -> None:
    converge(dashboards_dir="")
    with host.sudo():
        assert host.check_output(f"find {CONFIG}/dashboards -name team.json") == ""
        assert host.file(f"{CONFIG}/dashboards/modelyard/modelyard-service.json").exists


def test_a_repository_that_nothing_is_installed_from_goes(host: Host) -> None:
    repository = "/etc/apt/sources.list.d/modelyard-grafana.sources"
    with host.sudo():
        host.check_output(f"touch {repository}")
        converge()
        assert not host.file(repository).exists


def test_a_new_password_is_never_shown(host: Host) -> None:
    words = converge(admin_password="another-secret")
    assert "another-secret" not in words
    assert "canary_secret" not in words
    assert "secret changed" in words
    assert text(host, "secrets/admin_password") == "another-secret"


def test_the_default_password_is_refused() -> None:
    words = refused(admin_password="admin")
    assert "grafana_admin_password must have 8 characters or more" in words


# What a release archive looks like, with a program inside that stands in for Grafana's.
MIRROR = """
set -e
mkdir -p /srv/mirror /tmp/stand-in/bin
echo "$1" | base64 -d > /tmp/stand-in/bin/grafana
chmod 755 /tmp/stand-in/bin/grafana
tar -czf /srv/mirror/grafana.tar.gz -C /tmp stand-in
systemd-run --quiet --unit=mirror python3 -m http.server --bind 127.0.0.1 --directory /srv/mirror 8404
sha256sum /srv/mirror/grafana.tar.gz | cut -d' ' -f1
"""


def test_a_changed_password_is_the_admins_password(host: Host) -> None:
    source = (Path(__file__).parents[1] / "files/stand_in.py").read_bytes()
    program = base64.b64encode(b"#!/usr/bin/python3\n" + source).decode()
    with host.sudo():
        sha256 = host.check_output("sh -c %s mirror %s", MIRROR, program)
    release = {"install": "archive", "archive_sha256": sha256, "admin_password": "the-first-secret"}
    converge(**release)
    with host.sudo():
        assert host.file("/var/lib/grafana/password").content_string == "the-first-secret"
        assert host.file("/opt/modelyard/grafana/12.0.2/bin/grafana").exists
    words = converge(**release | {"admin_password": "the-second-secret"})
    assert "the-second-secret" not in words
    with host.sudo():
        assert host.file("/var/lib/grafana/password").content_string == "the-second-secret"
        assert host.file("/var/lib/grafana/password").user == "grafana"
    words = converge(**release | {"admin_password": "the-second-secret"})
    assert "changed=0" in words
