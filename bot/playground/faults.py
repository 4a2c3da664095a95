"""Trouble on demand: what the page can make go wrong, and how often."""

import time
from collections.abc import Mapping
from typing import Any, Final

from bot.playground.journal import Events
from bot.playground.params import Json

KINDS: Final = {"429", "5xx", "lost", "slow", "expired_press", "webhook_down", "redeliver"}
DEFAULT_SECONDS: Final = {"429": 3, "slow": 3, "webhook_down": 30}


class Faults:
    """The faults that wait for their call, each for a number of calls or until a moment."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._waiting: list[Json] = []

    def arm(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Let the next calls (of one method, or of any but getUpdates) meet this fault."""
        fault: Json = {"kind": kind, "count": int(fields.get("count") or 1)}
        if kind in DEFAULT_SECONDS:
            fault["seconds"] = int(fields.get("seconds") or DEFAULT_SECONDS[kind])
        if kind == "webhook_down":
            fault |= {"count": None, "until": time.time() + fault["seconds"]}
        if method := fields.get("method"):
            fault["method"] = str(method)
        self._waiting.append(fault)
        self._publish()

    def take(self, kind: str, *, method: str = "") -> Json | None:
        """Use up one turn of a fault, if one of this kind waits for this method."""
        for fault in self.waiting():
            wanted = fault.get("method", "").lower()
            meant = wanted == method.lower() if wanted else method.lower() != "getupdates"
            if fault["kind"] == kind and meant:
                if fault["count"] is not None:
                    fault["count"] -= 1
                    self._publish()
                return fault
        return None

    def waiting(self) -> list[Json]:
        """List the faults that are still to come."""
        now = time.time()
        live = [f for f in self._waiting if f["count"] != 0 and f.get("until", now) >= now]
        self._waiting = live
        return live

    def clear(self) -> None:
        """Call off all faults."""
        self._waiting = []
        self._publish()

    def _publish(self) -> None:
        self._events.publish("faults", faults=[dict(fault) for fault in self.waiting()])
