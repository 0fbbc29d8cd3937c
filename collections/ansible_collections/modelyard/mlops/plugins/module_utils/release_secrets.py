# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Secrets of running releases, as files in memory.

What lies in /etc/modelyard/apps is for root alone. A container gets a copy in /run, which is a memory file system.
systemd-tmpfiles makes it, now and at each boot before the engine starts, so that there is one way for both.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import typing as t

from .release import ReleaseError

MEMORY_ROOT = "/run/modelyard/secrets"
RULES_FOLDER = "/etc/tmpfiles.d"

# %-signs and spaces would have to be escaped; no path here has any.
RULES = """\
# Made by modelyard.mlops.app_release: the secrets of {app}, release {number}, as files in memory.
d {above} 0755 root root -
d {root} 0700 root root -
d {root}/{app} 0700 root root -
C {folder} 0500 {uid} root - {source}
"""


def create(rules: str) -> None:
    """Have systemd-tmpfiles do what a file of rules says.

    :raises ReleaseError: it does not.
    """
    try:
        subprocess.run(["systemd-tmpfiles", "--create", rules], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise ReleaseError(f"secrets: `systemd-tmpfiles --create {rules}` failed: {said.strip()}") from error


class MemorySecrets:
    """The secrets of one app's releases, in memory.

    :param rest: says where a release's secrets are at rest.
    """

    def __init__(
        self,
        app: str,
        rest: t.Callable[[int], str],
        root: str = MEMORY_ROOT,
        rules_folder: str = RULES_FOLDER,
        create: t.Callable[[str], None] = create,
    ) -> None:
        self._app = app
        self._rest = rest
        self._root = root
        self._rules_folder = rules_folder
        self._create = create

    def folder(self, number: int) -> str:
        """Where a release's secrets are in memory."""
        return os.path.join(self._root, self._app, str(number))

    def provide(self, number: int, uid: int) -> str:
        """Put a release's secrets into memory, now and at each boot; returns their folder.

        :param uid: the user on whose behalf the container reads them.
        """
        path = self._rules(number)
        text = RULES.format(
            app=self._app,
            number=number,
            above=os.path.dirname(self._root),
            root=self._root,
            folder=self.folder(number),
            uid=uid,
            source=self._rest(number),
        )
        os.makedirs(self._rules_folder, exist_ok=True)
        with open(path + ".new", "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(path + ".new", path)
        shutil.rmtree(self.folder(number), ignore_errors=True)
        self._create(path)
        return self.folder(number)

    def retain(self, numbers: t.Container[int]) -> None:
        """Take the secrets of all other releases out of memory."""
        for number in self._provided():
            if number not in numbers:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._rules(number))
                shutil.rmtree(self.folder(number), ignore_errors=True)

    def _provided(self) -> list[int]:
        pattern = re.compile(rf"modelyard-secrets\.{re.escape(self._app)}\.(\d+)\.conf")
        with contextlib.suppress(FileNotFoundError):
            return [int(match[1]) for match in map(pattern.fullmatch, os.listdir(self._rules_folder)) if match]
        return []

    def _rules(self, number: int) -> str:
        return os.path.join(self._rules_folder, f"modelyard-secrets.{self._app}.{number}.conf")
