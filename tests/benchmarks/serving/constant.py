# SPDX-License-Identifier: Apache-2.0
"""What our server is compared with, on the same server with the same settings; run by the Python of .venv/iris.

python constant.py flask|empty PORT
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Response, jsonify, request

from iris_model.serving import server


def flask() -> Flask:
    """Return an application that parses JSON and answers a constant."""
    app = Flask(__name__)

    @app.post("/predict")
    def predict() -> Response:
        request.get_json()
        return jsonify(predictions=[0])

    return app


def empty() -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    """Return a WSGI application that reads the body and answers next to nothing: as fast as the server can be."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b"{}"]

    return application


if __name__ == "__main__":
    server.granian("127.0.0.1", int(sys.argv[2]), workers=1).serve(
        target_loader={"flask": flask, "empty": empty}[sys.argv[1]], wrap_loader=False
    )
