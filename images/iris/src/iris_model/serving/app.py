# SPDX-License-Identifier: Apache-2.0
"""The Flask application around one loaded model."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from http import HTTPStatus

from flask import Flask, Response, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST
from werkzeug.exceptions import HTTPException

from iris_model.model import Model
from iris_model.serving import metrics
from iris_model.serving.validation import MAX_BODY, Problem, parse

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


def create_app(model: Model, identity: Identity) -> Flask:
    """Return the application; it answers as soon as it exists, since a Model has answered once when it was loaded."""
    app = Flask("iris_model", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.json.compact = True  # type: ignore[attr-defined]
    _add_error_handlers(app)
    app.wsgi_app = metrics.Measured(app.wsgi_app)  # type: ignore[method-assign]
    headers = {
        "X-Model-Name": identity.name,
        "X-Model-Version": identity.version,
        "X-Release": identity.release,
    }
    predicted = [metrics.PREDICTIONS.labels(identity.version, label) for label in model.classes]
    metrics.MODEL_INFO.labels(identity.name, identity.version, identity.release, model.digest).set(1)
    who = {
        "model": identity.name,
        "model_version": identity.version,
        "model_digest": f"sha256:{model.digest}",
        "release": identity.release,
    }
    names = list(model.metadata["features"])

    @app.post("/predict")
    def predict() -> Response:
        if request.mimetype != "application/json":
            raise Problem(415, f"the content type must be application/json, found {request.mimetype or 'none'}")
        labels = model.predict(parse(request.get_data(cache=False), names))[0].tolist()
        for label, counter in enumerate(predicted):
            if count := labels.count(label):
                counter.inc(count)
        response = jsonify(predictions=labels)
        response.headers.update(headers)
        return response

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

    return app


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
