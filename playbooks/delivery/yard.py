# SPDX-License-Identifier: Apache-2.0
"""An environment's places in this clone: where its state, secrets, keys and log are."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import DeliveryError

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Yard:
    """One environment that is delivered from this clone.

    :param environment: the folder under playbooks/inventory and terraform/environments.
    :param name: what its resources are called. Two rehearsals run beside each other under two names.
    """

    environment: str
    name: str
    root: Path = ROOT

    @classmethod
    def named(cls, environment: str, name: str | None = None, root: Path = ROOT) -> Yard:
        """Return the yard, once both names are known to be usable.

        :raises DeliveryError: there is no such environment, or the name cannot be part of a resource's name.
        """
        known = sorted(path.name for path in (root / "terraform/environments").iterdir() if path.is_dir())
        if environment not in known:
            raise DeliveryError(
                f"ENV={environment} is not an environment of this repository; there is {', '.join(known)}"
            )
        name = name or environment
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,20}", name):
            raise DeliveryError(f"YARD={name} is no name for an environment: use up to 21 of a-z, 0-9 and '-'")
        return cls(environment, name, root)

    @property
    def rehearsed(self) -> bool:
        """Whether the cloud and the hosts are stand-ins on this machine."""
        return self.environment == "rehearsal"

    @property
    def state(self) -> Path:
        """The folder of all that a delivery keeps on this machine; git does not see it."""
        return self.root / ".modelyard" / self.name

    @property
    def log(self) -> Path:
        """Everything that a run printed."""
        return self.state / "delivery.log"

    @property
    def secrets(self) -> Path:
        """The secrets of a rehearsal, 0600."""
        return self.state / "secrets.yml"

    @property
    def vault(self) -> Path:
        """The secrets of an environment that is not rehearsed, encrypted and part of the repository."""
        return self.inventory / "group_vars/all/vault.yml"

    @property
    def private_key(self) -> Path:
        """The key that Ansible logs in with."""
        return self.state / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The hosts' own keys."""
        return self.state / "known_hosts"

    @property
    def inventory(self) -> Path:
        """The inventory's folder."""
        return self.root / "playbooks/inventory" / self.environment

    @property
    def terraform(self) -> Path:
        """Terraform's root module."""
        return self.root / "terraform/environments" / self.environment

    def commit(self) -> str:
        """Return what is being delivered: the commit's short hash, marked when the tree differs from it."""
        command = ["git", "-C", str(self.root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise DeliveryError(f"{self.root} is no git clone with a commit, and a commit is what is delivered")
        return done.stdout.strip()

    def note_tag(self, tag: str) -> None:
        """Remember that images were built under `tag` for this yard."""
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.state / "tags").write_text("".join(f"{known}\n" for known in sorted({*_tags(self.state), tag})))

    def tags(self) -> list[str]:
        """Return the tags of the images that were built for this yard and for no other of this clone."""
        elsewhere = {tag for other in self.others() for tag in _tags(other)}
        return [tag for tag in _tags(self.state) if tag not in elsewhere]

    def others(self) -> list[Path]:
        """Return the states of the other yards of this clone."""
        return [path for path in self.state.parent.iterdir() if path != self.state and (path / "lock").exists()]

    @contextmanager
    def locked(self, verb: str) -> Iterator[None]:
        """Hold the yard for `verb`; the kernel lets go of the lock even when the process is killed.

        :raises DeliveryError: another process holds it; the message says which, doing what, since when.
        """
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.state / "lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise DeliveryError(
                    f"{self.name} is busy: {lock.read().strip() or 'another run'}; wait for it, or stop that process"
                ) from None
            lock.truncate(0)
            lock.write(f"make {verb}, process {os.getpid()}, since {time.strftime('%H:%M:%S')}\n")
            lock.flush()
            yield


def _tags(state: Path) -> list[str]:
    noted = state / "tags"
    return noted.read_text().split() if noted.exists() else []
