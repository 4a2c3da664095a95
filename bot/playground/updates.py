"""Updates on their way to the bot: the queue and long polling."""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Final

from bot.playground.options import Options
from bot.playground.params import Json, Params
from bot.playground.refusals import Refusal, require
from bot.playground.store import Store

DAY: Final = 24 * 3600
QUERY_KINDS: Final = {"callback_query", "pre_checkout_query"}
ONLY_WHEN_ASKED: Final = {"chat_member", "message_reaction", "message_reaction_count"}
MOST_UPDATES: Final = 100
LONGEST_POLL: Final = 50
OTHER_POLL: Final = (
    "terminated by other getUpdates request; make sure that only one bot instance is running"
)
WEBHOOK_IS_SET: Final = (
    "can't use getUpdates method while webhook is active; "
    "use deleteWebhook to delete the webhook first"
)


class Updates:
    """The queue of one bot; an update stays until the bot confirms it or it grows too old."""

    def __init__(self, *, store: Store, options: Options) -> None:
        self.push: Callable[[Json], None] = lambda _: None  # what the webhook does with news
        self.pending: dict[int, Json] = {
            item["update"]["update_id"]: item for item in store.latest("update")
        }
        self._store = store
        self._options = options
        self._again: list[Json] = []
        self._held: asyncio.Future[str] | None = None
        self._next_conflict = 0.0

    def add(self, kind: str, body: Json, *, lane: str) -> None:
        """Queue an update, unless the bot asked not to see its kind."""
        allowed = self._store.get("allowed_updates") or []
        if kind not in allowed and (allowed or kind in ONLY_WHEN_ASKED):
            return
        start = 100_000_000 + secrets.randbelow(10**8)
        number = self._store.next_number("update", start=start)
        until = time.time() + (self._options.press_seconds if kind in QUERY_KINDS else DAY)
        item = {"lane": lane, "until": until, "update": {"update_id": number, kind: body}}
        self._store.put("update", number, item)
        self._store.put("last_update", 0, item)
        self.pending[number] = item
        self._tell(item)

    def deliver_again(self) -> None:
        """Deliver the last update once more, as Telegram may."""
        item: Json | None = self._store.get("last_update")
        if item is None:
            return
        number = item["update"]["update_id"]
        if self._store.get("webhook"):
            self.pending[number] = item
        elif number not in self.pending:
            self._again.append(item["update"])
        self._tell(item)

    def forget_all(self) -> None:
        """Drop everything that waits."""
        self.confirm(*self.pending)
        self._again = []
        self._store.drop("last_update")

    def confirm(self, *numbers: int) -> None:
        """Forget updates that have arrived."""
        for number in numbers:
            self.pending.pop(number, None)
            self._store.drop("update", number)

    def drop_expired(self) -> None:
        """Forget updates that grew too old."""
        now = time.time()
        self.confirm(*[number for number, item in self.pending.items() if item["until"] < now])

    def remember_allowed(self, params: Params) -> None:
        """Keep the kinds that the bot wants to see from now on, if it names any."""
        allowed = params.document("allowed_updates")
        if isinstance(allowed, list):
            self._store.put("allowed_updates", 0, allowed)

    async def poll(self, params: Params) -> list[Json]:
        """Answer getUpdates, held until there is news or time is up."""
        require(not self._store.get("webhook"), WEBHOOK_IS_SET, code=409)
        self.remember_allowed(params)
        self.end_poll(OTHER_POLL)
        self._confirm_before(params.number("offset"))
        limit = min(max(params.number("limit", MOST_UPDATES), 1), MOST_UPDATES)
        timeout = min(params.number("timeout"), LONGEST_POLL)
        if timeout > 0 and not self.pending and not self._again:
            self._held = held = asyncio.get_running_loop().create_future()
            await asyncio.wait([held], timeout=timeout)
            if held.done() and held.result():
                await self._pause_conflict()
                raise Refusal(held.result(), code=409)
        again, self._again = self._again, []
        return (again + [item["update"] for item in self.pending.values()])[:limit]

    def end_poll(self, reason: str = "") -> None:
        """End a held poll, with a conflict if there is a reason for one."""
        if self._held is not None and not self._held.done():
            self._held.set_result(reason)

    def _tell(self, item: Json) -> None:
        self.end_poll()
        if self._store.get("webhook"):
            self.push(item)

    def _confirm_before(self, offset: int) -> None:
        self.drop_expired()
        numbers = sorted(self.pending)
        kept = numbers[offset:] if offset < 0 else [n for n in numbers if n >= offset]
        self.confirm(*set(numbers).difference(kept))

    async def _pause_conflict(self) -> None:
        """Let conflicts come slowly, each some seconds after the other."""
        pause = max(0.0, self._next_conflict - time.monotonic())
        self._next_conflict = time.monotonic() + pause + self._options.conflict_seconds
        await asyncio.sleep(pause)
