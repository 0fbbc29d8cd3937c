# SPDX-License-Identifier: Apache-2.0
"""Two kinds of load: as much as a server takes (wrk), and at a given rate whatever the server does (open loop)."""

from __future__ import annotations

import json
import re
import selectors
import socket
import subprocess
import tempfile
import time
from collections import deque
from dataclasses import dataclass

LUA = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
if %(fresh)s then wrk.headers["Connection"] = "close" end
wrk.body = %(body)s
done = function(summary)
  local errors = summary.errors
  io.write(string.format('RESULT {"requests": %%d, "microseconds": %%d, "errors": %%d}\\n', summary.requests,
    summary.duration, errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""

#: Seconds for which a server gets a rate before it is timed.
WARM_UP = 1


@dataclass(frozen=True)
class Target:
    """Where to send what.

    Attributes:
        port: on 127.0.0.1.
        path: of the endpoint.
        body: a JSON document.
    """

    port: int
    path: str
    body: str


def peak(target: Target, seconds: int, connections: int = 16, fresh: bool = False) -> float:
    """Return the answers a second that a server gives when each connection asks again at once.

    Raises:
        RuntimeError: one of them was not a success.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA % {"fresh": str(fresh).lower(), "body": json.dumps(target.body)})
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script.name]
        url = f"http://127.0.0.1:{target.port}{target.path}"
        output = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    result = json.loads(output.partition("RESULT ")[2])
    if result["errors"]:
        raise RuntimeError(f"{url}: {result['errors']} of {result['requests']} requests failed")
    return float(result["requests"] / result["microseconds"] * 1e6)


def percentile_at_rate(
    target: Target, rate: float, seconds: float, share: float = 0.99, connections: int = 64
) -> float:
    """Return the latency, in seconds, that a share of the requests kept to at a constant rate.

    Each is timed from the moment at which it was due, so a server that stalls is charged for all that it kept waiting.
    The first WARM_UP seconds are not counted: a server that was idle starts its threads then.
    """
    body = target.body.encode()
    head = f"POST {target.path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    message = f"{head}\r\n\r\n".encode() + body
    free: deque[socket.socket] = deque()
    due: dict[socket.socket, float] = {}
    answers: dict[socket.socket, bytes] = {}
    latencies: list[float] = []
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            connection = socket.create_connection(("127.0.0.1", target.port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(connection, selectors.EVENT_READ)
            free.append(connection)
        begin, sent, total = time.perf_counter(), 0, int(rate * (WARM_UP + seconds))
        while len(latencies) < total:
            now = time.perf_counter() - begin
            while free and sent < total and sent / rate <= now:
                connection = free.popleft()
                due[connection], answers[connection] = sent / rate, b""
                connection.sendall(message)
                sent += 1
            # The selector's clock has a grain of a millisecond: for the last two, it is asked again and again.
            wait = max(0.0, sent / rate - now - 0.002) if free and sent < total else 5.0
            for key, _ in selector.select(wait):
                answered = key.fileobj
                assert isinstance(answered, socket.socket)
                answers[answered] += answered.recv(65_536)
                if _whole(answers[answered]):
                    latencies.append(time.perf_counter() - begin - due.pop(answered))
                    free.append(answered)
        for key in list(selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
    counted = sorted(latencies[int(rate * WARM_UP) :])
    return counted[int(share * (len(counted) - 1))]


def _whole(answer: bytes) -> bool:
    """Return whether all of an answer is there.

    Raises:
        RuntimeError: it is not a success, or the connection was closed.
    """
    if not answer.startswith(b"HTTP/1.1 200 "[: len(answer) or 1]):
        raise RuntimeError(f"a request failed: {answer[:80]!r}")
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return bool(end and length and len(body) >= int(length[1]))
