# SPDX-License-Identifier: Apache-2.0
"""GitHub as the workflows need it: a comment that is updated, an issue that opens and closes, a reviewed plan."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import DeliveryError

# Whose comments the workflows write; nobody else's word is taken for a review.
BOT = "github-actions[bot]"
LABEL = "modelyard"
PER_PAGE = 100
TIMEOUT = 30.0


@dataclass(frozen=True)
class Repository:
    """A repository on GitHub, over its REST API.

    :param api: the API's address, of GitHub itself or of an Enterprise server.
    :param name: OWNER/NAME.
    """

    api: str
    name: str
    token: str

    @classmethod
    def here(cls, environment: Mapping[str, str]) -> Repository:
        """Return the repository whose workflow this is.

        :raises DeliveryError: this is no workflow, or it has no token.
        """
        missing = [name for name in ("GITHUB_REPOSITORY", "GITHUB_TOKEN") if not environment.get(name)]
        if missing:
            raise DeliveryError(f"{', '.join(missing)} is not set: only a workflow tells GitHub something")
        api = environment.get("GITHUB_API_URL") or "https://api.github.com"
        return cls(api.rstrip("/"), environment["GITHUB_REPOSITORY"], environment["GITHUB_TOKEN"])

    def comment(self, number: int, topic: str, text: str) -> None:
        """Say something on a pull request; what was said of the same topic before is replaced."""
        body = {"body": f"{_mark(topic)}\n{text}"}
        for comment in self._all(f"issues/{number}/comments"):
            if comment["user"]["login"] == BOT and _mark(topic) in comment["body"]:
                self._ask("PATCH", f"issues/comments/{comment['id']}", body)
                return
        self._ask("POST", f"issues/{number}/comments", body)

    def open_issue(self, topic: str, title: str, text: str) -> None:
        """Have one open issue on the topic, with this text."""
        body = {"title": title, "body": f"{_mark(topic)}\n{text}"}
        number = self._issue(topic)
        if number is None:
            self._ask("POST", "issues", body | {"labels": [LABEL]})
        else:
            self._ask("PATCH", f"issues/{number}", body)

    def close_issue(self, topic: str, text: str) -> None:
        """Close the issue on the topic, if there is one, saying why."""
        number = self._issue(topic)
        if number is not None:
            self._ask("POST", f"issues/{number}/comments", {"body": text})
            self._ask("PATCH", f"issues/{number}", {"state": "closed", "state_reason": "completed"})

    def reviewed_plan(self, commit: str, topic: str) -> str | None:
        """Return the digest of the plan that stood in the comment of the pull request which brought the commit."""
        for pull in self._all(f"commits/{commit}/pulls"):
            for comment in self._all(f"issues/{pull['number']}/comments"):
                if comment["user"]["login"] == BOT and _mark(topic) in comment["body"]:
                    found = re.search(r"plan `([0-9a-f]{16})`", comment["body"])
                    return found[1] if found else None
        return None

    def _issue(self, topic: str) -> int | None:
        for issue in self._all("issues", f"state=open&labels={LABEL}"):
            if _mark(topic) in (issue["body"] or ""):
                return int(issue["number"])
        return None

    def _all(self, path: str, query: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            page = len(found) // PER_PAGE + 1
            got = self._ask("GET", f"{path}?per_page={PER_PAGE}&page={page}" + (f"&{query}" if query else ""))
            found += got
            if len(got) < PER_PAGE:
                return found

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        request = urllib.request.Request(f"{self.api}/repos/{self.name}/{path}", method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        request.add_header("Accept", "application/vnd.github+json")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:300]
            raise DeliveryError(f"GitHub refuses {method} {path} (HTTP {error.code}): {said}") from error
        except OSError as error:
            raise DeliveryError(f"GitHub does not answer at {self.api}: {error}") from error


def _mark(topic: str) -> str:
    """Return what marks a text as ours on this topic; GitHub does not show it."""
    return f"<!-- modelyard: {topic} -->"
