# SPDX-License-Identifier: Apache-2.0
"""What stands in front of Flask: every request is counted, and the usual prediction takes a shorter way.

Routing, contexts and response objects cost Flask several times what the model costs. So a `POST /predict` as clients
send it is answered right here, by the same function that Flask's view calls. Whatever is in any way unusual, and
everything that is refused, goes through Flask: there is no second opinion here on what is wrong with a request.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any

from iris_model.serving.counts import Counts
from iris_model.serving.validation import MAX_BODY

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


class Express:
    """A WSGI application that counts every request, answers the usual prediction, and leaves the rest to another one.

    The answers are small and never streamed, so a request is over when it returns.
    """

    PATH = "/predict"
    CONTENT_TYPE = "application/json"

    def __init__(
        self, application: Application, answer: Callable[[bytes], bytes], headers: dict[str, str], counts: Counts
    ) -> None:
        """Stand in front of an application.

        Args:
            application: what answers everything else.
            answer: from the body of a query to that of the answer; raises whatever it likes if it cannot.
            headers: of every answer.
            counts: where requests are counted and timed.
        """
        self._application = application
        self._answer = answer
        self._headers = [("Content-Type", self.CONTENT_TYPE), *headers.items()]
        self._counts = counts

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        begin = self._counts.begin()
        content = self._usual(environ)
        if content is None:
            return self._leave(begin, environ, start_response)
        start_response("200 OK", self._headers)
        self._counts.end(begin, "POST", self.PATH, "200")
        return (content,)

    def _usual(self, environ: Environ) -> bytes | None:
        """Return the answer to a prediction as clients send it; None for anything else, whose body is as it was."""
        if (
            environ["PATH_INFO"] != self.PATH
            or environ["REQUEST_METHOD"] != "POST"
            or environ.get("CONTENT_TYPE") != self.CONTENT_TYPE
            or not (length := environ.get("CONTENT_LENGTH", "")).isdecimal()
            or int(length) > MAX_BODY
        ):
            return None
        body = environ["wsgi.input"].read(int(length))
        try:
            return self._answer(body)
        except Exception:  # noqa: BLE001 - whatever it is, Flask meets it again, and says so
            environ["wsgi.input"] = io.BytesIO(body)
            return None

    def _leave(self, begin: float, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Have the application answer, and count what it says."""
        status = "500"

        def remember(line: str, *rest: Any) -> Any:
            nonlocal status
            status = line[:3]
            return start_response(line, *rest)

        try:
            return self._application(environ, remember)
        finally:
            self._counts.end(begin, environ["REQUEST_METHOD"], environ["PATH_INFO"], status)
