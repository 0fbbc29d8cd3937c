# SPDX-License-Identifier: Apache-2.0
"""Stands in for Grafana's program, which cannot be had here; it is not Grafana.

It has what the role counts on: the server is healthy under its path, keeps the admin's password of its first start, and
takes another one from `grafana cli admin reset-admin-password` alone.
"""

from __future__ import annotations

import base64
import configparser
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

PASSWORD = Path("/var/lib/grafana/password")


class Handler(BaseHTTPRequestHandler):
    """Answers what the role asks; `root` is what the server is under."""

    root = "/"

    def do_GET(self) -> None:
        """Say that all is well, or whether the login is right."""
        right = "Basic " + base64.b64encode(f"admin:{PASSWORD.read_text()}".encode()).decode()
        known = self.path == f"{self.root}api/health" or self.headers["Authorization"] == right
        self.send_response(200 if known else 401)
        self.end_headers()


def main(arguments: list[str]) -> None:
    """Serve, or set the password."""
    if "reset-admin-password" in arguments:
        assert "--password-from-stdin" in arguments
        PASSWORD.write_text(sys.stdin.read().strip())
        return
    assert arguments[0] == "server"
    settings = configparser.RawConfigParser()
    settings.read(next(word.partition("=")[2] for word in arguments if word.startswith("--config=")))
    if not PASSWORD.exists():
        PASSWORD.write_text(
            Path(settings["security"]["admin_password"].removeprefix("$__file{").rstrip("}")).read_text()
        )
    Handler.root = urlsplit(settings["server"]["root_url"]).path
    HTTPServer(("127.0.0.1", 3000), Handler).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
