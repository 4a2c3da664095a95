"""What the page listens to: numbered events, and a journal of the bot's calls."""

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

from bot.playground.params import Json, Params

KEPT_EVENTS: Final = 2000
KEPT_CALLS: Final = 500
SHOWN_CHARACTERS: Final = 200
QUIET_SECONDS: Final = 15


class Events:
    """A numbered stream; a listener says what it saw last and misses nothing."""

    def __init__(self) -> None:
        # Numbers start at the clock, so that a page that outlived a restart is never ahead.
        self.last = int(time.time() * 1000)
        self._kept: deque[tuple[int, Json]] = deque(maxlen=KEPT_EVENTS)
        self._news = asyncio.Event()
        self._closed = False

    def close(self) -> None:
        """End all streams, so that the server can stop."""
        self._closed = True
        self._news.set()

    def publish(self, kind: str, **fields: object) -> None:
        """Tell every listener what happened."""
        self.last += 1
        self._kept.append((self.last, {"type": kind, **fields}))
        self._news.set()
        self._news = asyncio.Event()

    async def follow(self, after: int) -> AsyncIterator[tuple[int, Json] | None]:
        """Yield events as they come, None after a quiet while, and a reset for what was lost."""
        first = self._kept[0][0] if self._kept else self.last + 1
        if not first - 1 <= after <= self.last:
            after = self.last
            yield after, {"type": "reset"}
        while not self._closed:
            news = self._news
            for number, event in [item for item in self._kept if item[0] > after]:
                after = number
                yield number, event
            if news is self._news and not self._closed:
                try:
                    await asyncio.wait_for(news.wait(), timeout=QUIET_SECONDS)
                except TimeoutError:
                    yield None


class Journal:
    """The last calls of the bot and what became of them."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._calls: deque[Json] = deque(maxlen=KEPT_CALLS)
        self._number = 0

    def record(self, method: str, params: Params, answer: Json, *, status: int, ms: int) -> None:
        """Note one call; polls that brought nothing are left out."""
        if method.lower() == "getupdates" and answer.get("result") == []:
            return
        self._number += 1
        files = {name: f"({len(file.content)} bytes)" for name, file in params.uploads.items()}
        entry: Json = {
            "n": self._number,
            "at": time.time(),
            "method": method,
            "params": {name: _shown(value) for name, value in params.values.items()} | files,
            "status": status,
            "ok": answer["ok"],
            "ms": ms,
        }
        if "description" in answer:
            entry["description"] = answer["description"]
        self._calls.append(entry)
        self._events.publish("journal", entry=entry)

    def after(self, number: int) -> list[Json]:
        """List the calls after a number."""
        return [call for call in self._calls if call["n"] > number]


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:SHOWN_CHARACTERS].encode(errors="replace").decode()
