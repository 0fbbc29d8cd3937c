# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""release_room: what does not fit is refused, with what to do about it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ansible_collections.modelyard.mlops.plugins.module_utils.release import ReleaseError
from ansible_collections.modelyard.mlops.plugins.module_utils.release_room import check_disk, check_memory, check_port


def test_second_copy_must_fit(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 4000 kB\nMemAvailable: 2048 kB\n", encoding="ascii")
    check_memory(2 * 1024**2, str(meminfo))
    with pytest.raises(ReleaseError, match=r"may take 3 MiB \(`memory`\), and 2 MiB are available.*strategy: recreate"):
        check_memory(3 * 1024**2, str(meminfo))


def test_full_disk_is_named(tmp_path: Path) -> None:
    check_disk([str(tmp_path), str(tmp_path / "not" / "yet")], reserve=1)
    with pytest.raises(ReleaseError, match=rf"the disk is full: {tmp_path} has \d+ MiB free, and"):
        check_disk([str(tmp_path / "not" / "yet")], reserve=1 << 60)


def test_taken_port_is_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ReleaseError, match=f"127.0.0.1:{port} is taken by something else"):
            check_port(port)
    check_port(port)
