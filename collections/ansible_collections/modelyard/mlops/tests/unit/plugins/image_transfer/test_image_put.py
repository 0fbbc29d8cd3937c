# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""image_put: a cut is known at once, and a host without SFTP is still reached."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.modelyard.mlops.plugins.plugin_utils.image_put import Putter


class Connection:
    """A connection over SSH, as far as it is asked."""

    def __init__(self, method: str) -> None:
        self.options = {"ssh_transfer_method": method} if method else {}
        self.fails = False
        self.put: list[tuple[str, str]] = []

    def get_option(self, name: str) -> str:
        return self.options[name]

    def set_option(self, name: str, value: str) -> None:
        self.options[name] = value

    def put_file(self, local: str, remote: str) -> None:
        if self.fails:
            raise AnsibleConnectionFailure("cut")
        self.put.append((local, remote))


def method(connection: Connection) -> str:
    return connection.options.get("ssh_transfer_method", "")


def test_files_are_put_into_the_folder() -> None:
    connection = Connection("")
    Putter(connection, "/staging")("/tmp/a", "a.pack")
    assert connection.put == [("/tmp/a", "/staging/a.pack")]


def test_smart_becomes_sftp_and_stays_it_after_a_cut() -> None:
    connection = Connection("smart")
    put = Putter(connection, "/staging")
    put("a", "a")
    connection.fails = True
    with pytest.raises(AnsibleConnectionFailure):
        put("b", "b")
    assert method(connection) == "sftp"


def test_host_that_may_have_no_sftp_gets_the_other_ways() -> None:
    connection = Connection("smart")
    put = Putter(connection, "/staging")
    connection.fails = True
    with pytest.raises(AnsibleConnectionFailure):
        put("a", "a")
    assert method(connection) == "smart"


@pytest.mark.parametrize("chosen", ["scp", "piped", ""])
def test_what_a_person_chose_stays(chosen: str) -> None:
    connection = Connection(chosen)
    Putter(connection, "/staging")
    assert method(connection) == chosen
