"""A TCP connection to a bridge with a serial line behind it: one question at a time."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from bot.gateway.wire.frames import SILENCE, NotYet

T = TypeVar("T")
WAKE: Final = b"\xfe" * 4
HEARD_MAX: Final = 4096


class Line(asyncio.Protocol):
    """Opens itself when something is asked, and closes when nothing is answered."""

    def __init__(self, host: str, port: int, *, seconds: float) -> None:
        self._host, self._port, self._seconds = host, port, seconds
        self._transport: asyncio.Transport | None = None
        self._heard = bytearray()
        self._news = asyncio.Event()

    async def ask(self, question: bytes, understand: Callable[[bytes], T]) -> T:
        """
        Send a question and return what is understood of the bytes that follow.

        A late answer is never taken for that to the next question: the line is closed with it.

        Raises:
            NotYet: nothing that was understood came in time.
            OSError: the bridge itself does not answer.
        """
        transport = self._transport or await self._open()
        self._heard.clear()
        transport.write(WAKE + question)
        trouble = NotYet(SILENCE)
        try:
            async with asyncio.timeout(self._seconds):
                while True:
                    self._news.clear()
                    await self._news.wait()
                    if self._transport is None:
                        raise ConnectionResetError("the bridge hung up")
                    try:
                        return understand(bytes(self._heard))
                    except NotYet as so_far:
                        trouble = so_far
        except TimeoutError:
            self.close()
            raise trouble from None

    async def _open(self) -> asyncio.Transport:
        async with asyncio.timeout(self._seconds):
            loop = asyncio.get_running_loop()
            self._transport, _ = await loop.create_connection(lambda: self, self._host, self._port)
        return self._transport

    def close(self) -> None:
        """Close the connection; the next question opens it again."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def data_received(self, data: bytes) -> None:
        """Keep what comes, as much of it as an answer can be."""
        self._heard += data
        del self._heard[:-HEARD_MAX]
        self._news.set()

    def connection_lost(self, _reason: Exception | None) -> None:
        """Let whoever waits know."""
        self._transport = None
        self._news.set()
