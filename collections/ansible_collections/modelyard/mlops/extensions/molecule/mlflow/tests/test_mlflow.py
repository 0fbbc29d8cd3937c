# SPDX-License-Identifier: Apache-2.0
"""The server keeps runs and models, on the loopback address, in a hardened container, whatever happens to its data."""

from __future__ import annotations

import json
from pathlib import Path

from testinfra.host import Host

from ansible_collections.modelyard.mlops.extensions.molecule.shared import playbook

from .conftest import Play
from .server import BACKUPS, DATA, ask, champion, inspect, processes

CONVERGE = str(Path(__file__).parents[1] / "converge.yml")


def schema(host: Host, path: str = f"{DATA}/mlflow.db") -> str:
    """The revision of a database's schema, and whether a later image has been at it."""
    question = (
        "SELECT (SELECT version_num FROM alembic_version), (SELECT count(*) FROM sqlite_master WHERE name LIKE ?)"
    )
    script = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute(sys.argv[2], ['%tomorrow']).fetchone())"
    with host.sudo():
        return str(host.check_output("python3 -c %s %s %s", script, path, question))


def test_the_api_answers_under_the_prefix(sqlite: Host) -> None:
    assert ask(sqlite, "/health") == (200, "OK")
    status, body = ask(sqlite, "/api/2.0/mlflow/experiments/search?max_results=1")
    assert status == 200
    assert json.loads(body)["experiments"][0]["artifact_location"].startswith("mlflow-artifacts:/")


def test_only_known_names_are_served(sqlite: Host) -> None:
    assert ask(sqlite, "/", "Host=ml.example.com")[0] == 200
    assert ask(sqlite, "/", "Host=evil.example.com")[0] == 403


def test_nothing_listens_beyond_loopback(sqlite: Host) -> None:
    with sqlite.sudo():
        listening = sqlite.check_output("ss --listening --tcp --numeric --no-header").splitlines()
    addresses = [line.split()[3] for line in listening]
    assert "127.0.0.1:5000" in addresses
    assert [address for address in addresses if not address.startswith("127.") and not address.endswith(":22")] == []


def test_the_container_is_hardened(sqlite: Host) -> None:
    container = inspect(sqlite)
    settings = container["HostConfig"]
    assert settings["ReadonlyRootfs"] is True
    assert settings["CapDrop"] == ["ALL"]
    assert settings["SecurityOpt"] == ["no-new-privileges"]
    assert settings["Memory"] == 1 << 30
    assert settings["RestartPolicy"]["Name"] == "unless-stopped"
    assert container["Config"]["User"] == "10001:10001"


def test_one_process_serves_and_no_job_runner_waits(sqlite: Host) -> None:
    found = processes(sqlite)
    assert [command.split()[0].rpartition("/")[2] for command, _unused in found] == ["docker-init", "python"]
    assert sum(memory for _unused, memory in found) <= 400


def test_the_data_is_the_servers_alone(sqlite: Host) -> None:
    folder = sqlite.file(DATA)
    assert (folder.uid, folder.gid, folder.mode) == (10001, 10001, 0o750)
    with sqlite.sudo():
        assert sqlite.file(f"{DATA}/mlflow.db").is_file


def test_what_an_old_mlflow_left_was_saved_and_upgraded(sqlite: Host) -> None:
    assert champion(sqlite) == "1"
    with sqlite.sudo():
        assert sqlite.file(BACKUPS).listdir() != []
        (name,) = (one for one in sqlite.file(BACKUPS).listdir() if one.endswith("-before-upgrade.tar.gz"))
        assert sqlite.check_output("tar -xzOf %s manifest.json", f"{BACKUPS}/{name}").count("0584bdc529eb") == 1
        assert sqlite.file(f"{BACKUPS}/{name}").mode == 0o600
    assert not schema(sqlite).startswith("0584bdc529eb")


def test_an_upgrade_that_fails_leaves_the_former_server_and_its_database(sqlite: Host, play: Play) -> None:
    container, before = inspect(sqlite), schema(sqlite)
    image = container["Config"]["Image"]
    done = play(CONVERGE, "sqlite", mlflow_image="{{ tomorrow }}")
    assert "the schema of the database could not be upgraded" in done["msg"]
    assert "no such table: nowhere" in done["msg"]
    after = inspect(sqlite)
    assert (after["Id"], after["Config"]["Image"], after["State"]["Running"]) == (container["Id"], image, True)
    assert schema(sqlite) == before
    assert before.endswith(" 0")


def test_a_preview_names_the_upgrade(sqlite: Host, play: Play) -> None:
    done = play(CONVERGE, "sqlite", "--check", mlflow_image="{{ tomorrow }}")
    assert (done["changed"], done["upgrade"]) == (True, True)


def test_a_backup_of_no_host_is_no_success() -> None:
    code, output = playbook.play("modelyard.mlops.backup")
    assert code != 0
    assert "There is no host in tracking of the inventory" in output


def test_a_lost_folder_is_restored(sqlite: Host, play: Play, tmp_path: Path) -> None:
    model = {"tracking_uri": "http://127.0.0.1:5000/mlflow", "name": "iris", "alias": "champion"}
    # The server of the test before is still starting.
    play(CONVERGE, "sqlite")
    before = sqlite.ansible(
        "modelyard.mlops.mlflow_model", json.dumps({**model, "dest": "/tmp/1"}), check=False, become=True
    )
    preview = play("modelyard.mlops.backup", "sqlite", "--check", mlflow_hosts="sqlite")
    assert preview["changed"]
    saved = play("modelyard.mlops.backup", "sqlite", mlflow_hosts="sqlite", mlflow_backup_fetch=str(tmp_path))
    assert (saved["artifacts"], saved["files"]) == (True, 2)
    assert sorted(path.name for path in tmp_path.rglob("*.gz")) == [saved["name"]]

    with sqlite.sudo():
        sqlite.check_output("rm -r %s %s", DATA, BACKUPS)
    fetched = {"mlflow_hosts": "sqlite", "mlflow_restore_file": str(tmp_path / "sqlite" / saved["name"])}
    preview = play("modelyard.mlops.restore", "sqlite", "--check", **fetched)
    assert preview["files"] == 2, preview["output"]
    assert not sqlite.file(DATA).exists
    restored = play("modelyard.mlops.restore", "sqlite", **fetched)
    assert restored["files"] == 2, restored["output"]
    assert champion(sqlite) == "1"
    after = sqlite.ansible(
        "modelyard.mlops.mlflow_model", json.dumps({**model, "dest": "/tmp/2"}), check=False, become=True
    )
    assert (after["digest"], after["bytes"]) == (before["digest"], len("a model"))
    folder = sqlite.file(DATA)
    assert (folder.uid, folder.gid, folder.mode) == (10001, 10001, 0o750)
    assert play(CONVERGE, "sqlite")["changed"] is False
