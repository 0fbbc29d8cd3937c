# SPDX-License-Identifier: Apache-2.0
"""The host as a machine that can be switched off: reached through the engine that runs it, and not over SSH."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import subprocess
import time
from collections import Counter
from typing import Any

from ansible_collections.modelyard.mlops.extensions.molecule.shared.playbook import follow

COLLECTIONS = os.environ["ANSIBLE_COLLECTIONS_PATH"]

# Short, so that many deployments fit into a test. A busy machine is slow, and the tests that want a release taken back
# do not measure times.
SHOP: dict[str, Any] = {
    "name": "shop",
    "slots": [18081, 18082],
    "port": 5678,
    "memory": "64m",
    "gate": {"in_a_row": 1, "budget": 10},
    "watch": {"seconds": 0.5, "latency_margin_ms": 10000},
    "drain": 5,
    "grace": 5,
    "by": "proof",
}


def shop(version: int | str, **env: object) -> dict[str, Any]:
    """A release of the shop; `env` goes to the container."""
    return {**SHOP, "image": f"molecule-shop:{version}", "env": {name: str(value) for name, value in env.items()}}


class Machine:
    """The scenario's host."""

    def __init__(self) -> None:
        folder = os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]
        # As create.yml names it.
        mark = hashlib.sha1(folder.encode(), usedforsecurity=False).hexdigest()[:8]
        self.container = f"molecule-{os.environ['MOLECULE_SCENARIO_NAME']}-{mark}-host"
        self.address = ""
        self.locate()

    def locate(self) -> None:
        """Learn the address, which may be another one after a reboot."""
        self.address = _docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", self.container)

    def sh(self, script: str) -> str:
        """Run a shell script as root; returns its output."""
        return _docker("exec", self.container, "sh", "-ec", script)

    def python(self, script: str, *arguments: str) -> Any:
        """Run one of the scripts of the proof; returns what it prints, which is JSON."""
        return json.loads(_docker("exec", self.container, "python3", f"/opt/proof/{script}", *arguments))

    def release(self, *wanted: dict[str, Any]) -> list[dict[str, Any]]:
        """Run the module app_release, once for each set of options."""
        results: list[dict[str, Any]] = self.python("driver.py", "run", *map(json.dumps, wanted))
        return results

    def settle(self) -> None:
        """Wait until no run is under way."""
        assert self.python("driver.py", "settle") == {"owner": 0}

    def at_rest(self) -> int:
        """Have a good release serve, and nothing unfinished, whatever was before; returns its number."""
        if self.unfinished():
            self.release(shop(1))
        return self.assert_tidy()

    def reboot(self) -> None:
        """Cut the power, and switch it on again."""
        _docker("kill", self.container)
        _docker("start", self.container)
        former = self.address
        self.locate()
        follow(former, self.address)
        _until(lambda: self.sh("systemctl is-active docker haproxy || true") == "active\nactive")

    def json(self, path: str) -> Any:
        return json.loads(self.sh(f"cat {path}"))

    def ledger(self) -> Any:
        return self.json("/var/lib/modelyard/apps/shop/ledger.json")

    def unfinished(self) -> int:
        """The release whose deployment died; 0 if none did."""
        text = self.sh("cat /var/lib/modelyard/apps/shop/journal.json 2>/dev/null || echo '{}'")
        return int(json.loads(text).get("release", 0))

    def serving(self, questions: int = 6) -> Counter[int]:
        """How many answers each release gives users now, 0 standing for no answer; waits for the first."""
        _until(lambda: self._ask() is not None)
        return Counter(self._ask() or 0 for _number in range(questions))

    def _ask(self) -> int | None:
        connection = http.client.HTTPConnection(self.address, timeout=5)
        try:
            connection.request("GET", "/basket")
            answer = connection.getresponse()
            return int(answer.headers["X-Release"]) if answer.status == http.client.OK else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def assert_tidy(self) -> int:
        """One release serves, and ledger, containers, map file and HAProxy agree on it; returns it."""
        active = self.ledger()["active"]
        assert self.serving() == {active["release"]: 6}
        shown = "docker ps --filter label=modelyard.app --format '{{.Names}} {{.Label \"modelyard.release\"}}'"
        assert self.sh(shown) == f"modelyard-shop-{active['slot']} {active['release']}"
        slot_map = "/var/lib/modelyard/ingress/slots.map"
        assert self.sh(f"cat {slot_map}") == f"shop {active['slot']}"
        assert self.haproxy(f"show map {slot_map}").split()[1:] == ["shop", active["slot"]]
        assert "journal.json" not in self.sh("ls /var/lib/modelyard/apps/shop")
        return int(active["release"])

    def haproxy(self, command: str) -> str:
        script = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect('/run/haproxy/admin.sock'); "
            "s.sendall(sys.argv[1].encode() + b'\\n'); print(s.makefile().read())"
        )
        return _docker("exec", self.container, "python3", "-c", script, command)


def _until(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
    return done.stdout.strip()
