# SPDX-License-Identifier: Apache-2.0
"""A webhook that Alertmanager really posts to: an HTTP server on this machine, which the yard's hosts reach."""

from __future__ import annotations

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """Keeps each alert that arrives; a context, so that it goes away with the yard."""

    def __init__(self) -> None:
        self._alerts: list[dict[str, Any]] = []
        self._arrived = threading.Condition()
        self._server = ThreadingHTTPServer((_address(), 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/"

    def wait_for(self, name: str, status: str, since: float, seconds: float) -> dict[str, Any]:
        """Return the first alert of this name that is firing or resolved and arrives after `since` (Unix seconds)."""
        deadline = time.monotonic() + seconds
        with self._arrived:
            while True:
                for alert in self._alerts:
                    if (alert["labels"]["alertname"], alert["status"]) == (name, status) and alert["arrived"] > since:
                        return alert
                left = deadline - time.monotonic()
                seen = [(alert["labels"]["alertname"], alert["status"]) for alert in self._alerts]
                assert left > 0, f"{name} was not {status} within {seconds:g} s; these arrived: {seen}"
                self._arrived.wait(left)

    def _take(self, body: bytes) -> None:
        with self._arrived:
            self._alerts += [{**alert, "arrived": time.time()} for alert in json.loads(body)["alerts"]]
            self._arrived.notify_all()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        take = self._take

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                take(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _address() -> str:
    """Return the address from which this machine reaches the world, and at which containers reach this machine.

    Not the engine's default gateway: a host with an engine of its own takes that one for itself.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("203.0.113.1", 9))  # sends nothing
        address: str = probe.getsockname()[0]
    return address
