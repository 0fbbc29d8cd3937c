# SPDX-License-Identifier: Apache-2.0
"""What our server is compared with, on the same server; run by the Python of .venv/iris.

python constant.py flask|empty PORT
"""

from __future__ import annotations

import sys

from flask import Flask, Response, jsonify, request
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.rsgi import HTTPProtocol, Scope

from iris_model.serving import server


def flask() -> Flask:
    """Return an application that parses JSON and answers a constant."""
    app = Flask(__name__)

    @app.post("/predict")
    def predict() -> Response:
        request.get_json()
        return jsonify(predictions=[0])

    return app


async def empty(_: Scope, protocol: HTTPProtocol) -> None:
    """Read the body and answer next to nothing: as fast as the server can be."""
    await protocol()
    protocol.response_bytes(200, [("Content-Type", "application/json")], b"{}")


def main(what: str, port: int) -> None:
    """Serve one of them with one worker."""
    if what == "empty":
        server.granian("127.0.0.1", port, workers=1).serve(target_loader=lambda: empty, wrap_loader=False)
        return
    # One thread is Granian's fastest for WSGI: none waits for the interpreter's lock. (A slow client stops it, though.)
    Granian(
        "constant",
        address="127.0.0.1",
        port=port,
        interface=Interfaces.WSGI,
        blocking_threads=1,
        http=HTTPModes.http1,
        log_level=LogLevels.error,
        log_access=False,
    ).serve(target_loader=flask, wrap_loader=False)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
