# SPDX-License-Identifier: Apache-2.0
"""Requests that never stop while something happens: kept-alive POSTs and fresh connections, side by side."""

from __future__ import annotations

import http.client
import threading
from types import TracebackType

from .client import Client

# Of each kind, one request each hundredth of a second at most.
WORKERS = 1
PAUSE = 0.01


class Traffic:
    """Counts what was answered, and keeps what was not."""

    def __init__(self, address: str, tls: bool = False) -> None:
        self._client, self._tls = Client(address), tls
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._kept_alive, self._fresh) * WORKERS]
        self.answers = 0
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

    def _kept_alive(self) -> None:
        """One connection for all requests: what cannot be sent twice is lost when it breaks."""
        connection = self._client.connection(self._tls)
        while not self._stop.wait(PAUSE):
            self._request(connection, "POST", b'{"features": [[1, 2]]}')
        connection.close()

    def _fresh(self) -> None:
        while not self._stop.wait(PAUSE):
            connection = self._client.connection(self._tls)
            self._request(connection, "GET", None)
            connection.close()

    def _request(self, connection: http.client.HTTPConnection, method: str, body: bytes | None) -> None:
        try:
            connection.request(method, "/predict", body)
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status == http.client.OK:
                self.answers += 1
            else:
                self.lost.append(f"{method}: {answer.status} {text}")
        except (OSError, http.client.HTTPException) as error:
            self.lost.append(f"{method}: {error!r}")
            connection.close()
