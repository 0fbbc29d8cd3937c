# SPDX-License-Identifier: Apache-2.0
"""Requests that never stop while something happens: kept-alive POSTs and fresh connections, side by side."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from types import TracebackType

WORKERS = 2


class Traffic:
    """Counts what was answered, and keeps what was not."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._post, self._get) * WORKERS]
        self.versions: Counter[str] = Counter()
        self.lost: list[str] = []

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _post(self) -> None:
        """One connection for all requests: what cannot be sent twice is lost when it breaks."""
        connection = http.client.HTTPConnection(self._address, timeout=10)
        while not self._stop.is_set():
            self._request(connection, "POST", json.dumps({"features": [[1, 2]]}))
        connection.close()

    def _get(self) -> None:
        while not self._stop.is_set():
            connection = http.client.HTTPConnection(self._address, timeout=10)
            self._request(connection, "GET", None)
            connection.close()

    def _request(self, connection: http.client.HTTPConnection, method: str, body: str | None) -> None:
        try:
            connection.request(method, "/predict", body)
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status == http.client.OK:
                self.versions[json.loads(text)["version"]] += 1
            else:
                self.lost.append(f"{method}: {answer.status} {text}")
        except (OSError, http.client.HTTPException) as error:
            self.lost.append(f"{method}: {error!r}")
            connection.close()
