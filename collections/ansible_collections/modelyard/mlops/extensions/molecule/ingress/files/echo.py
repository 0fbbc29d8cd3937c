# SPDX-License-Identifier: Apache-2.0
"""Answers on the loopback ports given as arguments with the request that arrived, as JSON.

?sleep=SECONDS answers later, ?stream=SECONDS sends two lines with a pause between them, and an upgrade to anything
gets its bytes back.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Server(ThreadingHTTPServer):
    """Holds many new connections at once."""

    request_queue_size = 128


class Echo(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        """Answer with port, path, headers and the length of the body."""
        if self.headers.get("Upgrade"):
            self._upgrade()
            return
        query = parse_qs(urlsplit(self.path).query)
        length = self._body()
        time.sleep(float(query.get("sleep", ["0"])[0]))
        if "stream" in query:
            self._stream(float(query["stream"][0]))
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = {"port": self.server.server_port, "path": self.path, "headers": headers, "length": length}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _body(self) -> int:
        if "Content-Length" in self.headers:
            return len(self.rfile.read(int(self.headers["Content-Length"])))
        length = 0
        while "Transfer-Encoding" in self.headers:
            size = int(self.rfile.readline(), 16)
            length += len(self.rfile.read(size))
            self.rfile.readline()
            if not size:
                break
        return length

    def _stream(self, pause: float) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"first\n")
        time.sleep(pause)
        self.wfile.write(b"last\n")
        self.close_connection = True

    def _upgrade(self) -> None:
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", self.headers["Upgrade"])
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        while data := self.connection.recv(4096):
            self.connection.sendall(data)
        self.close_connection = True


for port in sys.argv[2:]:
    threading.Thread(target=Server(("127.0.0.1", int(port)), Echo).serve_forever).start()
Server(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
