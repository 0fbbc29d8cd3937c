# SPDX-License-Identifier: Apache-2.0
"""Another team: a folder with nothing of this repository but the collection's archive, and its README's quick start.

Its Ansible is ansible-core in an environment of its own, with nothing else of what this repository installs. The files
and the commands are those of the README, by the letter. What stands for the team's own world is in `places`, and in the
folder `team`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
COLLECTION = ROOT / "collections/ansible_collections/modelyard/mlops"
README = (COLLECTION / "README.md").read_text()
TEAM = Path(__file__).parent / "team"
BASE = os.environ.get("MODELYARD_BASE_IMAGE") or "modelyard/base:bookworm"
HOST = os.environ.get("MODELYARD_HOST_IMAGE") or "modelyard/host:bookworm"
# Written in the README, and another here: the addresses, where the collection comes from, and the base of the image.
DOCUMENTED = ("192.0.2.11", "192.0.2.12")
GALAXY = "ansible-galaxy collection install modelyard.mlops"


def quick_start() -> list[tuple[str, str]]:
    """Return the blocks of the README's quick start: their languages and texts, in its order."""
    chapter = re.search(r"^## Quick start$(.*?)^## ", README, re.DOTALL | re.MULTILINE)
    assert chapter, "README.md has no chapter `Quick start`"
    return re.findall(r"^```(\w+)\n(.*?)^```$", chapter[1], re.DOTALL | re.MULTILINE)


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout)
    assert done.returncode == 0, f"{shlex.join(map(str, command))}\n{done.stdout[-6000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The team's folder: what is its own, a key, the archive, and Ansible."""
    folder = tmp_path_factory.mktemp("team") / "delivery"
    shutil.copytree(TEAM, folder)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key")
    program = Path(sys.executable).with_name("ansible-galaxy")
    run(program, "collection", "build", "--output-path", folder, COLLECTION)
    run(sys.executable, "-m", "venv", "--without-pip", folder / ".venv")
    uv = Path(sys.executable).with_name("uv")
    lock = ROOT / "requirements.txt"
    run(uv, "pip", "install", "--quiet", "--python", folder / ".venv", "--constraint", lock, "ansible-core")
    return folder


@pytest.fixture(scope="module")
def hosts(folder: Path) -> Iterator[list[str]]:
    """Two systemd hosts that let the key in; their addresses."""
    key = (folder / "key.pub").read_text().strip()
    names = [f"outside-{uuid.uuid4().hex[:8]}-{name}" for name in ("one", "two")]
    boot = ["--detach", "--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--cgroupns", "host"]
    boot += ["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined", "--tmpfs", "/run"]
    boot += ["--tmpfs", "/tmp", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw", "--volume", "/var/lib/docker"]
    boot += ["--env", f"AUTHORIZED_KEY={key}", "--stop-signal", "SIGRTMIN+3"]
    address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    try:
        for name in names:
            run("docker", "run", "--name", name, *boot, HOST, "/lib/systemd/systemd")
        yield [run("docker", "inspect", "--format", address, name).strip() for name in names]
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", *names], stdout=subprocess.DEVNULL)
        subprocess.run(["docker", "rmi", "--force", "shop:1", "shop:2"], stdout=subprocess.DEVNULL)


def shell(line: str, folder: Path) -> str:
    """Run a line of the README as somebody would who has the tools, and no variable of this repository's."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    ours = str(Path(sys.executable).parent)
    path = [str(folder / ".venv/bin"), *(each for each in environment["PATH"].split(":") if each != ours)]
    environment |= {
        "PATH": ":".join(path),
        "ANSIBLE_HOME": str(folder / ".ansible"),
        "ANSIBLE_NOCOLOR": "1",
        "PYTHONPATH": "",
    }
    return run("bash", "-c", line, cwd=folder, env=environment)


def get(address: str, path: str) -> str:
    """The app's answer, over TLS; nobody has signed the hosts' first certificates."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with urllib.request.urlopen(f"https://{address}{path}", timeout=10, context=context) as answer:
        return str(answer.read().decode())


def test_the_quick_start_by_the_letter_delivers_another_teams_app(folder: Path, hosts: list[str]) -> None:
    archive = next(folder.glob("modelyard-mlops-*.tar.gz")).name
    places = {**dict(zip(DOCUMENTED, hosts, strict=True)), GALAXY: f"ansible-galaxy collection install {archive}"}
    places["docker build "] = f"docker build --build-arg BASE={BASE} "
    assert shell("command -v ansible-galaxy ansible-playbook", folder).split() == [
        str(folder / ".venv/bin" / program) for program in ("ansible-galaxy", "ansible-playbook")
    ]
    said: dict[str, str] = {}
    for language, text in quick_start():
        for documented, ours in places.items():
            text = text.replace(documented, ours)
        if language == "yaml":
            name = re.match(r"# (\S+\.yml)$", text, re.MULTILINE)
            assert name, f"this block says in its first line which file it is: {text}"
            (folder / name[1]).write_text(text)
        for line in re.findall(r"^\$ (.*?)(?: +#.*)?$", text, re.MULTILINE) if language == "console" else []:
            if "--tag shop:2" in line:
                with (folder / "shop/shop.pl").open("a") as source:
                    source.write("# A change.\n")
            said[line] = shell(line, folder)
            if "deliver.yml" in line and "--check" not in line:
                expected = "release 2" if "version=2" in line else "release 1"
                assert [get(host, "/")[:9] for host in hosts] == [expected] * 2
    assert [get(host, "/")[:9] for host in hosts] == ["release 1"] * 2, "the last command went back"
    status = next(text for line, text in said.items() if "modelyard.mlops.status" in line)
    assert "shop" in status
    again = shell("ansible-playbook -i inventory.yml deliver.yml", folder)
    assert len(re.findall(r"changed=0 .*failed=0", again)) == 2, again[-2000:]
