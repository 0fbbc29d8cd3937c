# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""Brings files to a host over Ansible's connection so that a cut is known at once."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleError

_METHOD = "ssh_transfer_method"


class Putter:
    """Puts files into a folder of the host.

    A connection over SSH answers a transfer that breaks off by sending the whole file again in two other ways. Here the
    rest is known better, so it is told to use SFTP alone, unless the first file shows that the host has no SFTP.
    """

    def __init__(self, connection: t.Any, folder: str) -> None:
        self._connection = connection
        self._folder = folder
        self._worked = False
        self._choose("smart", "sftp")

    def __call__(self, local: str, name: str) -> None:
        """Put the file `local` as `name`.

        :raises AnsibleError: it did not arrive, or not whole.
        """
        try:
            self._connection.put_file(local, f"{self._folder}/{name}")
        except AnsibleError:
            if not self._worked:
                self._choose("sftp", "smart")
            raise
        self._worked = True

    def _choose(self, former: str, method: str) -> None:
        # Other connections have no such option, and one that a person has set stays.
        try:
            if self._connection.get_option(_METHOD) == former:
                self._connection.set_option(_METHOD, method)
        except KeyError:
            pass
