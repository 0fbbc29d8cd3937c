# SPDX-License-Identifier: Apache-2.0
"""Requests at a steady rate while something happens: kept-alive POSTs and fresh connections, half of each."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from types import TracebackType

# Requests a second, all together; connections that are kept; seconds until an answer counts as none.
RATE = 200
KEPT = 4
PATIENCE = 10.0

BODY = b'{"basket": [1, 2, 3]}'
POST = b"POST /basket HTTP/1.1\r\nHost: shop\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
GET = b"GET /basket HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"


class Load:
    """Counts the answers by release, and keeps what was no answer."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.releases: Counter[int] = Counter()
        self.lost: list[str] = []
        self.sent = 0

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        await asyncio.gather(self._fresh(), *(self._kept() for _connection in range(KEPT)))

    async def _kept(self) -> None:
        """One connection for all requests: what cannot be sent twice is lost when it breaks."""
        interval = 2 * KEPT / RATE
        moment = asyncio.get_running_loop().time()
        streams = None
        while not self._stop.is_set():
            try:
                streams = streams or await self._connect()
                await self._ask(streams, POST)
            except (OSError, EOFError, ValueError, KeyError) as error:
                self.lost.append(f"POST: {error!r}")
                streams = None
            moment += interval
            await asyncio.sleep(max(0.0, moment - asyncio.get_running_loop().time()))
        if streams:
            streams[1].close()

    async def _fresh(self) -> None:
        """A connection for each request. The next one does not wait for the last one's answer."""
        moment = asyncio.get_running_loop().time()
        under_way: set[asyncio.Task[None]] = set()
        while not self._stop.is_set():
            task = asyncio.create_task(self._once())
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            moment += 2 / RATE
            await asyncio.sleep(max(0.0, moment - asyncio.get_running_loop().time()))
        await asyncio.gather(*under_way)

    async def _once(self) -> None:
        try:
            streams = await self._connect()
            await self._ask(streams, GET)
            streams[1].close()
        except (OSError, EOFError, ValueError, KeyError) as error:
            self.lost.append(f"GET: {error!r}")

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.wait_for(asyncio.open_connection(self._address, 80), PATIENCE)

    async def _ask(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes) -> None:
        reader, writer = streams
        self.sent += 1
        writer.write(request)
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)).decode().lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await asyncio.wait_for(reader.readexactly(int(headers["content-length"])), PATIENCE)
        if " 200 " in head[0]:
            self.releases[int(headers["x-release"])] += 1
        else:
            self.lost.append(f"{request[:4].decode()}: {head[0]} {body.decode()}")
