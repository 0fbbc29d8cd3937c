#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Answers on the loopback ports given as arguments with the request that arrived, as JSON."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    """One request."""

    server: ThreadingHTTPServer

    def do_GET(self) -> None:
        """Answer with path and headers."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = json.dumps({"port": self.server.server_port, "path": self.path, "headers": headers}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


for port in sys.argv[2:]:
    threading.Thread(target=ThreadingHTTPServer(("127.0.0.1", int(port)), Echo).serve_forever).start()
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
