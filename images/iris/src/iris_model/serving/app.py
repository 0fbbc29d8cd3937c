# SPDX-License-Identifier: Apache-2.0
"""The application around one loaded model: Flask's, and what stands in front of it."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path

from flask import Flask, Response, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST
from werkzeug.exceptions import HTTPException

from iris_model.model import Model
from iris_model.serving.answer import Answer
from iris_model.serving.counts import Counts
from iris_model.serving.express import Express
from iris_model.serving.metrics import Metrics
from iris_model.serving.validation import MAX_BODY, Problem

log = logging.getLogger("iris_model")


@dataclass(frozen=True)
class Identity:
    """Who answers: the names that the deployment gave.

    Attributes:
        name: the registered model.
        version: its version in the registry.
        release: number of the app's release.
    """

    name: str = "iris"
    version: str = "unknown"
    release: str = "unknown"


def create_app(model: Model, identity: Identity, shared: Path | None = None) -> Express:
    """Return the application; it answers as soon as it exists, since a Model has answered once when it was loaded.

    Args:
        model: the model that answers.
        identity: its names.
        shared: the folder in which all workers keep their counts; None for a process of its own.
    """
    flask = Flask("iris_model", static_folder=None)
    # A body without a length is cut off here: with one byte more than is allowed, it is still seen to be too large.
    flask.config["MAX_CONTENT_LENGTH"] = MAX_BODY + 1
    flask.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    flask.json.compact = True  # type: ignore[attr-defined]
    counts = Counts(shared, len(model.classes), len(model.metadata["features"]))
    answer = Answer(model, counts)
    headers = {"X-Model-Name": identity.name, "X-Model-Version": identity.version, "X-Release": identity.release}
    _add_error_handlers(flask)
    _add_documents(flask)
    _add_endpoints(flask, answer, model, identity, counts)
    # On every answer, refusals included: which model and which release gave it.
    flask.after_request(lambda response: response.headers.update(headers) or response)
    return Express(flask, answer, headers, counts)


def _add_endpoints(app: Flask, answer: Answer, model: Model, identity: Identity, counts: Counts) -> None:
    """Serve predictions, and what is known of who gives them."""
    who = {
        "model": identity.name,
        "model_version": identity.version,
        "model_digest": f"sha256:{model.digest}",
        "release": identity.release,
    }
    metrics = Metrics(counts, {**asdict(identity), "digest": model.digest}, model.metadata)

    @app.post(Express.PATH)
    def predict() -> Response:
        if request.mimetype != Express.CONTENT_TYPE:
            raise Problem(415, f"the content type must be {Express.CONTENT_TYPE}, found {request.mimetype or 'none'}")
        return Response(answer(request.get_data(cache=False)), content_type=Express.CONTENT_TYPE)

    @app.get("/health")
    def health() -> Response:
        return jsonify(status="running")

    @app.get("/ready")
    def ready() -> Response:
        return jsonify(status="ready", **who)

    @app.get("/version")
    def version() -> Response:
        return jsonify(who)

    @app.get("/metrics")
    def prometheus() -> Response:
        return Response(metrics.exposition(), content_type=CONTENT_TYPE_LATEST)


def _add_documents(app: Flask) -> None:
    """Serve what lies beside this module as it is."""
    openapi = Path(__file__).with_name("openapi.json").read_bytes()
    html = Path(__file__).with_name("page.html").read_bytes()
    page_headers = {"Content-Security-Policy": _policy(html), "X-Content-Type-Options": "nosniff"}

    @app.get("/")
    def page() -> Response:
        return Response(html, content_type="text/html; charset=utf-8", headers=page_headers)

    @app.get("/openapi.json")
    def description() -> Response:
        return Response(openapi, content_type="application/json")


def _policy(html: bytes) -> str:
    """Return a content security policy that lets a page run its own inline script and style, and call its own host."""

    def sources(tag: bytes) -> str:
        blocks = re.findall(rb"<%b>(.*?)</%b>" % (tag, tag), html, re.DOTALL)
        return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(block).digest()).decode()}'" for block in blocks)

    return (
        f"default-src 'none'; script-src {sources(b'script')}; style-src {sources(b'style')}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _add_error_handlers(app: Flask) -> None:
    """Give every answer that is not a success the same form."""

    @app.errorhandler(Problem)
    def refuse(problem: Problem) -> Response:
        return _problem(problem.status, problem.detail, problem.where)

    @app.errorhandler(HTTPException)
    def refuse_http(error: HTTPException) -> Response:
        response = _problem(error.code or 500, error.description or "", {})
        if allowed := getattr(error, "valid_methods", None):
            response.headers["Allow"] = ", ".join(sorted(allowed))
        return response

    @app.errorhandler(Exception)
    def fail(error: Exception) -> Response:
        log.error("unexpected error on %s %s", request.method, request.path, exc_info=error)
        return _problem(500, "an unexpected error; it is in the service's log", {})


def _problem(status: int, detail: str, where: dict[str, int | str]) -> Response:
    """Return an answer in the form of RFC 9457."""
    response = jsonify(type="about:blank", title=HTTPStatus(status).phrase, status=status, detail=detail, **where)
    response.status_code = status
    response.content_type = "application/problem+json"
    return response
