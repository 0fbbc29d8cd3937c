# SPDX-License-Identifier: Apache-2.0
"""Requests at a steady rate while something happens: kept-alive POSTs and fresh connections, half of each.

python traffic.py ADDRESS RATE SCHEME    sends until its standard input ends, then prints what came of it as JSON

They are sent by a process of its own, ahead of others where that is allowed: what the test and the host have to do on
the same processors must not make the sender late.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from types import TracebackType

# Of each kind, so many requests wait for their answers at most. With answers within a fifth of a second, this is enough
# for 200 a second; on a machine that is too busy for that, fewer are sent, as more would only add to the queue.
AT_ONCE = 20

# Seconds until an answer counts as none; how far ahead of others the sender is.
PATIENCE = 10.0
NICE = -5

BODY = b'{"features": [[1, 2]]}'
POST = b"POST /predict HTTP/1.1\r\nHost: app\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
GET = b"GET /predict HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Traffic:
    """Sends while the block runs; afterwards it says what was answered, and keeps what was not.

    :ivar answers: how often each release answered, by the header X-Release; "" for answers without it.
    :ivar lost: what was wrong with each of the other requests.
    :ivar sent: how many requests there were.
    :ivar rate: how many a second.
    """

    def __init__(self, address: str, rate: int = 50, tls: bool = False) -> None:
        self._command = [sys.executable, __file__, address, str(rate), "https" if tls else "http"]
        self.answers: Counter[str] = Counter()
        self.lost: list[str] = []
        self.sent, self.rate = 0, 0.0

    def __enter__(self) -> Traffic:
        self._sender = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        found = json.loads(self._sender.communicate()[0])
        self.answers, self.lost = Counter(found["answers"]), found["lost"]
        self.sent, self.rate = found["sent"], found["sent"] / found["seconds"]


class Sender:
    """Sends at a rate. What is late is sent as soon as it can be, so that the rate is kept on average."""

    def __init__(self, address: str, rate: int, tls: bool) -> None:
        self._address, self._rate, self._tls = address, rate, _trusting() if tls else None
        self._stop = asyncio.Event()
        self.answers: Counter[str] = Counter()
        self.lost: list[str] = []
        self.sent = 0

    async def run(self) -> float:
        """Send until standard input ends; return the seconds that it took."""
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin, self._stop.set)
        begin = loop.time()
        async with asyncio.TaskGroup() as group:
            for _number in range(AT_ONCE):
                group.create_task(self._fresh())
                group.create_task(self._kept())
            await self._stop.wait()
            return loop.time() - begin

    async def _fresh(self) -> None:
        """A connection for each request."""
        async for _moment in self._moments():
            await self._ask(GET, None)

    async def _kept(self) -> None:
        """One connection for all requests: what cannot be sent twice is lost when it breaks."""
        streams: Streams | None = None
        async for _moment in self._moments():
            streams = await self._ask(POST, streams)

    async def _moments(self) -> AsyncIterator[float]:
        """When one of those who send has to, until the end. They do not begin all at once."""
        loop = asyncio.get_running_loop()
        interval = 2 * AT_ONCE / self._rate
        moment = loop.time() + random.uniform(0, interval)
        while not self._stop.is_set():
            await asyncio.sleep(max(0.0, moment - loop.time()))
            yield moment
            moment += interval

    async def _ask(self, request: bytes, streams: Streams | None) -> Streams | None:
        """Send a request, on a new connection if there is none; return the connection if it stays open."""
        self.sent += 1
        try:
            async with asyncio.timeout(PATIENCE):
                port = 443 if self._tls else 80
                reader, writer = streams or await asyncio.open_connection(self._address, port, ssl=self._tls)
                writer.write(request)
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
                headers = dict(line.split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(headers["content-length"]))
        except (OSError, EOFError, ValueError, KeyError) as error:
            self.lost.append(f"{request[:4].decode()}: {error!r}")
            return None
        if " 200 " in head[0]:
            self.answers[headers.get("x-release", "")] += 1
        else:
            self.lost.append(f"{request[:4].decode()}: {head[0]} {body.decode()}")
        if headers.get("connection") == "close":
            writer.close()
            return None
        return reader, writer


def _trusting() -> ssl.SSLContext:
    """Trust any certificate: most of them are made in the tests."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def main(address: str, rate: str, scheme: str) -> None:
    """Send, and print what came of it."""
    with contextlib.suppress(PermissionError):
        os.nice(NICE)
    sender = Sender(address, int(rate), scheme == "https")
    seconds = asyncio.run(sender.run())
    print(json.dumps({"answers": sender.answers, "lost": sender.lost, "sent": sender.sent, "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
