# Copyright: The Modelyard authors
# SPDX-License-Identifier: Apache-2.0
"""listening: who has a port is known by name."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from ansible_collections.modelyard.mlops.plugins.module_utils.listening import Listener, is_free, listeners


def test_a_port_is_taken_by_a_process_until_it_is_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
        assert not is_free(port, "127.0.0.1")
        assert is_free(port, "127.0.0.2")
        (listener,) = listeners(port)
        assert listener.pid == os.getpid()
    assert is_free(port)
    assert listeners(port) == []


def test_a_service_is_named(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    row = "0: 00000000:{:04X} 00000000:0000 {} 00000000:00000000 00:00000000 00000000 0 0 {}"
    lines = ["sl local", row.format(80, "0A", 77), row.format(80, "01", 78), row.format(81, "0A", 79)]
    (tmp_path / "net/tcp").write_text("\n".join(lines))
    for number, inode in (("8", 77), ("9", 79), ("10", 78)):
        (tmp_path / number / "fd").mkdir(parents=True)
        (tmp_path / number / "fd/3").symlink_to(f"socket:[{inode}]")
        (tmp_path / number / "comm").write_text("nginx\n")
        (tmp_path / number / "cgroup").write_text("3:cpu:/\n1:name=systemd:/system.slice/nginx.service\n0::/\n")
    assert listeners(80, str(tmp_path)) == [Listener("nginx", 8, "nginx.service")]
    assert str(Listener("nginx", 8, "nginx.service")) == "nginx (process 8, nginx.service)"
    assert str(Listener("nginx", 8)) == "nginx (process 8)"
