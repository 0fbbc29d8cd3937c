# SPDX-License-Identifier: Apache-2.0
"""The hosts that images are brought to: systemd containers with SSH and an engine of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PREFIX = "transfer-benchmark"
# A body with Docker and zstd installed, so that eight of them boot in seconds.
PREPARED = f"{PREFIX}/host:prepared"
BODY = [
    *(
        "--cap-add=ALL",
        "--cap-drop=SYS_RESOURCE",
        "--security-opt=seccomp=unconfined",
        "--security-opt=apparmor=unconfined",
    ),
    *("--cgroupns=host", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw", "--stop-signal=SIGRTMIN+3"),
    *("--tmpfs=/run", "--tmpfs=/tmp", "--volume=/var/lib/docker"),
]


@dataclass(frozen=True)
class Host:
    """A host that answers SSH at `address` to the private key in `identity`."""

    name: str
    address: str
    identity: Path

    def ssh(self, command: str) -> list[str]:
        """The arguments that run `command` there, each time over a connection of its own."""
        return ["ssh", "-i", str(self.identity), *ssh_options(), f"admin@{self.address}", command]

    def run(self, *command: str) -> str:
        """Run `command` as root, past the network; return its output."""
        return output("docker", "exec", self.name, *command)

    def wire(self) -> int:
        """Bytes that its network interface has received and sent, headers and all."""
        line = next(line for line in self.run("cat", "/proc/net/dev").splitlines() if "eth0:" in line)
        fields = line.split(":")[1].split()
        return int(fields[0]) + int(fields[8])

    def forget(self) -> None:
        """Remove all images from its engine, and what waits of any."""
        self.run("docker", "image", "prune", "--all", "--force")
        self.run("rm", "-rf", "/var/lib/modelyard/images")

    @contextmanager
    def link(self, rate: str) -> Iterator[None]:
        """Shape what goes to it to `rate`, in the words of `tc`; empty leaves the link as it is.

        The other direction has only acknowledgements and answers.
        """
        if not rate:
            yield
            return
        index = self.run("cat", "/sys/class/net/eth0/iflink").strip()
        links = output("ip", "-oneline", "link").splitlines()
        device = next(line for line in links if line.startswith(f"{index}:")).split()[1].split("@")[0]
        output(*f"tc qdisc add dev {device} root tbf rate {rate} burst 64kb latency 200ms".split())
        try:
            yield
        finally:
            output(*f"tc qdisc del dev {device} root".split())


@contextmanager
def booted(count: int, folder: Path) -> Iterator[list[Host]]:
    """Boot `count` hosts with empty engines, and remove them at the end.

    :param folder: where their key pair and their inventory (`hosts.ini`) go.
    """
    identity = folder / "id_ed25519"
    if not identity.exists():
        output("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(identity))
    if not output("docker", "image", "ls", "--quiet", PREPARED):
        _prepare(folder, identity)
    names = [f"{PREFIX}-{number}" for number in range(1, count + 1)]
    try:
        hosts = [_boot(name, PREPARED, identity) for name in names]
        for host in hosts:
            _wait(host)
        write_inventory(folder, hosts)
        yield hosts
    finally:
        _remove(names)


def forget_prepared() -> None:
    """Remove the image that hosts boot from."""
    subprocess.run(["docker", "image", "rm", "--force", PREPARED], check=False, capture_output=True)


def write_inventory(folder: Path, hosts: Sequence[Host]) -> None:
    """Write `hosts.ini` for Ansible."""
    options = " ".join(ssh_options())
    lines = [
        f"{host.name} ansible_host={host.address} ansible_user=admin ansible_ssh_private_key_file={host.identity}"
        f" ansible_ssh_common_args='{options}'"
        for host in hosts
    ]
    (folder / "hosts.ini").write_text("\n".join(lines) + "\n", encoding="utf-8")


def ssh_options() -> list[str]:
    """What SSH is told of hosts that live for minutes."""
    return ["-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR"]


def output(*command: str) -> str:
    """Run a command and return what it prints; its errors are shown."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _prepare(folder: Path, identity: Path) -> None:
    name = f"{PREFIX}-prepare"
    try:
        host = _boot(name, "modelyard/host:bookworm", identity)
        _wait(host, "true")
        write_inventory(folder, [host])
        output("ansible-playbook", "-i", str(folder / "hosts.ini"), str(HERE / "prepare.yml"))
        output("docker", "commit", name, PREPARED)
    finally:
        _remove([name])


def _boot(name: str, image: str, identity: Path) -> Host:
    _remove([name])
    key = identity.with_suffix(".pub").read_text(encoding="ascii").strip()
    output(
        *("docker", "run", "--detach", "--name", name, "--hostname", name, "--env", f"AUTHORIZED_KEY={key}"),
        *(*BODY, image, "/lib/systemd/systemd"),
    )
    address = output("docker", "inspect", "--format", "{{.NetworkSettings.IPAddress}}", name).strip()
    return Host(name, address, identity)


def _wait(host: Host, ready: str = "sudo docker version") -> None:
    for attempt in range(60):
        last = attempt == 59
        done = subprocess.run(host.ssh(f"{ready} || {{ sleep 1; false; }}"), check=last, capture_output=True)
        if done.returncode == 0:
            return
        subprocess.run(["sleep", "0.5"], check=True)


def _remove(names: Sequence[str]) -> None:
    subprocess.run(["docker", "rm", "--force", "--volumes", *names], check=False, capture_output=True)
