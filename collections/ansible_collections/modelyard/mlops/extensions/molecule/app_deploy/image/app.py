# SPDX-License-Identifier: Apache-2.0
"""An app that keeps the contract, or breaks it in the way that BEHAVIOUR names."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BEHAVIOUR = os.environ.get("BEHAVIOUR", "")
# Enough for the gate and the warm-up, and then no more.
GOOD_ANSWERS = 5

answers = 0


class App(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with the release, after a moment of work."""
        global answers
        answers += 1
        time.sleep(1 if BEHAVIOUR == "slow" else 0.02)
        failing = BEHAVIOUR == "fails later" and answers > GOOD_ANSWERS
        status = 500 if failing else self._wanted()
        self._send(status, {"version": os.environ["VERSION"], "release": os.environ["RELEASE"]})

    def do_POST(self) -> None:
        """The same, with what was sent."""
        sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
        time.sleep(0.02)
        self._send(self._wanted(), {"version": os.environ["VERSION"], "sent": sent})

    def log_message(self, *_arguments: object) -> None:
        """Keep the log for what matters."""

    def _wanted(self) -> int:
        """The status that a path such as /status/203 asks for."""
        return int(self.path.removeprefix("/status/")) if self.path.startswith("/status/") else 200

    def _send(self, status: int, value: dict[str, str]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("X-Release", os.environ["RELEASE"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if BEHAVIOUR == "broken":
    print("the model is corrupt", file=sys.stderr)
    sys.exit(3)

# Its model is loaded when somebody says so.
while BEHAVIOUR == "waits" and not os.path.exists("/tmp/go"):
    time.sleep(0.1)

if BEHAVIOUR == "hungry":
    hoard = [bytearray(8 << 20) for _number in range(64)]

server = ThreadingHTTPServer(("", int(os.environ["PORT"])), App)
server.daemon_threads = False  # what has begun is finished
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
server.server_close()
