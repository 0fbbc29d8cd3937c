# SPDX-License-Identifier: Apache-2.0
"""The part of GitHub's REST API that workflows use, in memory and over real HTTP."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

BOT = {"login": "github-actions[bot]"}
TOKEN = "token-of-a-job"


class GitHub:
    """Issues, comments and the pull requests of commits; `said` is each change that was asked for."""

    def __init__(self) -> None:
        self.issues: list[dict[str, Any]] = []
        self.comments: list[dict[str, Any]] = []
        self.pulls: dict[str, list[int]] = {}
        self.said: list[str] = []
        self.address = ""

    def environment(self) -> dict[str, str]:
        """Return what a workflow's job has in its environment."""
        return {"GITHUB_API_URL": self.address, "GITHUB_REPOSITORY": "owner/name", "GITHUB_TOKEN": TOKEN}

    def open_issues(self) -> list[dict[str, Any]]:
        """Return the issues that are not closed."""
        return [issue for issue in self.issues if issue["state"] == "open"]

    def comments_on(self, number: int) -> list[str]:
        """Return what was said on an issue or pull request."""
        return [comment["body"] for comment in self.comments if comment["number"] == number]

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        """Answer a request below /repos/owner/name/."""
        if method != "GET":
            self.said.append(f"{method} {path}")
        if path == "issues":
            if method == "GET":
                label = query.get("labels", [None])[0]
                found = [issue for issue in self.open_issues() if label is None or label in issue["labels"]]
                return 200, _page(found, query)
            self.issues.append({"number": 100 + len(self.issues), "state": "open", **body})
            return 201, self.issues[-1]
        if match := re.fullmatch(r"issues/comments/(\d+)", path):
            comment = next(one for one in self.comments if one["id"] == int(match[1]))
            comment.update(body)
            return 200, comment
        if match := re.fullmatch(r"issues/(\d+)/comments", path):
            if method == "GET":
                return 200, _page([one for one in self.comments if one["number"] == int(match[1])], query)
            self.comments.append({"id": len(self.comments), "number": int(match[1]), "user": BOT, **body})
            return 201, self.comments[-1]
        if match := re.fullmatch(r"issues/(\d+)", path):
            issue = next(one for one in self.issues if one["number"] == int(match[1]))
            issue.update(body)
            return 200, issue
        if match := re.fullmatch(r"commits/(\w+)/pulls", path):
            return 200, [{"number": number} for number in self.pulls.get(match[1], [])]
        return 404, {"message": "Not Found"}


def _page(found: list[Any], query: dict[str, list[str]]) -> list[Any]:
    size, page = int(query["per_page"][0]), int(query["page"][0])
    return found[(page - 1) * size : page * size]


@contextmanager
def serve() -> Iterator[GitHub]:
    """Serve the API on a free port of this machine."""
    github = GitHub()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            url = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                code, answer = 401, {"message": "Bad credentials"}
            else:
                path = url.path.removeprefix("/repos/owner/name/")
                code, answer = github.answer(self.command, path, parse_qs(url.query), body)
            content = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = _do

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Stay silent: tests look at `said`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    github.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield github
    finally:
        server.shutdown()
        server.server_close()
