# SPDX-License-Identifier: Apache-2.0
"""What stands in front of Flask: every request is counted, and the usual prediction takes a shorter way.

A worker answers from one event loop, so a request costs no switch of threads, and a client that sends slowly holds
nobody up. Routing, contexts and response objects cost Flask several times what the model costs, so a `POST /predict`
as clients send it is answered right here, with the parts that Flask's view is made of: small ones together with those
that came at the same time, large ones in a thread. Whatever is in any way unusual, and everything that is refused, goes
through Flask, in a thread: there is no second opinion here on what is wrong with a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from flask import Flask
from granian.rsgi import HTTPProtocol, ProtocolClosed, ProtocolError, Scope

from iris_model.serving import wsgi
from iris_model.serving.answer import Answer
from iris_model.serving.batches import Batches
from iris_model.serving.counts import Counts
from iris_model.serving.validation import MAX_BODY

T = TypeVar("T")

#: Bytes of a body that is answered without keeping others waiting: some hundred rows.
SMALL = 4_096
#: Requests that threads have in hand at once; they use the processor, and do not wait.
THREADS = 4


class Express:
    """An RSGI application: counts every request, answers the usual prediction, and leaves the rest to Flask.

    Attributes:
        flask: the application behind it.
    """

    PATH = "/predict"
    CONTENT_TYPE = "application/json"

    def __init__(self, flask: Flask, answer: Answer, headers: dict[str, str], counts: Counts) -> None:
        """Stand in front of an application.

        Args:
            flask: what answers everything else.
            answer: what answers predictions there.
            headers: of every answer.
            counts: where requests are counted and timed.
        """
        self.flask = flask
        self._answer = answer
        self._batches = Batches(answer.labels)
        self._headers = [("Content-Type", self.CONTENT_TYPE), *headers.items()]
        self._counts = counts
        self._threads = ThreadPoolExecutor(THREADS, "flask")

    async def __call__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        """Answer one request."""
        begin, status = self._counts.begin(), 500
        try:
            status = await self._respond(scope, protocol)
        except (ProtocolClosed, ProtocolError):
            status = 400  # the client went away before all of its request was here
        finally:
            self._counts.end(begin, scope.method, scope.path, str(status))

    async def _respond(self, scope: Scope, protocol: HTTPProtocol) -> int:
        """Answer, and return the status."""
        body = await wsgi.body(scope, protocol, MAX_BODY + 1)
        if self._is_usual(scope):
            content = await self._predict(body)
            if content is not None:
                protocol.response_bytes(200, self._headers, content)
                return 200
        status, headers, content = await self._in_thread(wsgi.call, self.flask, scope, body)
        protocol.response_bytes(status, headers, content)
        return status

    def _in_thread(self, function: Callable[..., T], *arguments: Any) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def _is_usual(self, scope: Scope) -> bool:
        """Return whether it is a prediction as clients send it."""
        if scope.path != self.PATH or scope.method != "POST":
            return False
        return bool(scope.headers.get("content-type") == self.CONTENT_TYPE)

    async def _predict(self, body: bytes) -> bytes | None:
        """Return the answer to a query; None for one which Flask must see, if only to say what is wrong with it."""
        try:
            if len(body) > SMALL:
                return await self._in_thread(self._answer, body)
            query = self._answer.parse(body)
            return None if query.probabilities else self._answer.encode(await self._batches.predict(query.features))
        except Exception:  # noqa: BLE001 - whatever it is, Flask meets it again, and says so
            return None
