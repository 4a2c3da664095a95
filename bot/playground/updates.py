"""Updates on their way to the bot: the queue, long polling and the webhook."""

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from bot.playground.faults import Faults
from bot.playground.options import Options
from bot.playground.params import Json, Params
from bot.playground.refusals import Refusal, too_many_requests
from bot.playground.store import Store
from bot.playground.webhook import Webhook, check_address

DAY: Final = 24 * 3600
QUERY_KINDS: Final = {"callback_query", "shipping_query", "pre_checkout_query"}
ONLY_WHEN_ASKED: Final = {"chat_member", "message_reaction", "message_reaction_count"}
MOST_UPDATES: Final = 100
LONGEST_POLL: Final = 50
LONGEST_SECRET: Final = 256
OTHER_POLL: Final = (
    "terminated by other getUpdates request; make sure that only one bot instance is running"
)
WEBHOOK_IS_SET: Final = (
    "can't use getUpdates method while webhook is active; "
    "use deleteWebhook to delete the webhook first"
)


@dataclass(frozen=True)
class Described:
    """A result that Telegram sends with a description."""

    result: object
    description: str


class Updates:
    """The queue of one bot; an update stays until the bot confirms it or it grows too old."""

    def __init__(self, *, store: Store, faults: Faults, options: Options) -> None:
        self._store = store
        self._options = options
        self._pending: dict[int, Json] = {
            item["update"]["update_id"]: item for item in store.latest("update")
        }
        self._again: list[Json] = []
        self._held: asyncio.Future[str] | None = None
        self._last_poll: tuple[int, float] = (0, float("-inf"))
        self._next_conflict = 0.0
        self._webhook_set_at = float("-inf")
        self._webhook = Webhook(
            faults=faults,
            retry_seconds=options.retry_seconds,
            confirm=self._confirm_delivered,
            note_error=self._note_error,
            give_up=self._give_up_webhook,
        )

    def start(self, carry_out: Callable[[str, Params], Awaitable[object]]) -> None:
        """Begin to deliver; a call in a webhook's answer is given to `carry_out`."""
        self._webhook.carry_out = carry_out
        self._deliver_by_webhook()

    async def stop(self) -> None:
        """End all deliveries; what is unconfirmed comes again after the next start."""
        await self._webhook.stop()

    def hang_up(self) -> None:
        """End a held poll with nothing."""
        self._end_held_poll("")

    def add(self, kind: str, body: Json, *, lane: str) -> None:
        """Queue an update, unless the bot asked not to see its kind."""
        allowed = self._store.get("allowed_updates", 0) or []
        if kind not in allowed and (allowed or kind in ONLY_WHEN_ASKED):
            return
        number = self._store.next_number("update", start=100_000_000 + secrets.randbelow(10**8))
        until = time.time() + (self._options.press_seconds if kind in QUERY_KINDS else DAY)
        item = {"lane": lane, "until": until, "update": {"update_id": number, kind: body}}
        self._pending[number] = item
        self._store.put("update", number, item)
        self._store.put("last_update", 0, item)
        self._hand_over(item)

    def deliver_again(self) -> None:
        """Deliver the last update once more, as Telegram may."""
        if (item := self._store.get("last_update", 0)) is None:
            return
        if item["update"]["update_id"] not in self._pending:
            self._again.append(item["update"])
        self._hand_over(item)

    def forget_all(self) -> None:
        """Drop everything that waits."""
        self._confirm(*self._pending)
        self._again = []
        self._store.drop("last_update", 0)
        self._deliver_by_webhook()

    async def poll(
        self, params: Params, gone: Callable[[], Coroutine[Any, Any, None]]
    ) -> list[Json]:
        """Answer getUpdates, held until there is news, time is up or the client is `gone`."""
        if self.webhook["url"]:
            raise Refusal(WEBHOOK_IS_SET, code=409)
        self._remember_allowed(params)
        offset = params.number("offset")
        limit = min(max(params.number("limit", MOST_UPDATES), 1), MOST_UPDATES)
        timeout = self._poll_seconds(offset, params.number("timeout"))
        self._end_held_poll(OTHER_POLL)
        self._forget_before(offset)
        if (ready := self._ready(limit)) or timeout <= 0:
            return ready
        reason = await self._hold(timeout, gone)
        if reason:
            pause = self._next_conflict - time.monotonic()
            self._next_conflict = time.monotonic() + max(0, pause) + self._options.conflict_seconds
            await asyncio.sleep(max(0.0, pause))
            raise Refusal(reason, code=409)
        return self._ready(limit)

    @property
    def webhook(self) -> Json:
        """What getWebhookInfo knows, without the counts."""
        return self._store.get("webhook", 0) or {"url": ""}

    def set_webhook(self, params: Params) -> Described:
        """Send the updates to an address from now on; an empty one ends that."""
        url, secret = params.text("url").strip(), params.text("secret_token")
        if not url:
            return self.delete_webhook(params)
        if len(secret) > LONGEST_SECRET:
            raise Refusal("secret token is too long")
        if not re.fullmatch(r"[A-Za-z0-9_-]*", secret):
            raise Refusal("secret token contains unallowed characters")
        check_address(url)
        now = time.monotonic()
        if now - self._webhook_set_at < self._options.set_webhook_seconds:
            raise too_many_requests(1)
        self._webhook_set_at = now
        self._remember_allowed(params)
        if params.flag("drop_pending_updates"):
            self.forget_all()
        asked = params.number("max_connections", 40)
        before = self.webhook
        hook = {"url": url, "secret": secret, "max_connections": min(max(asked, 1), 100)}
        if address := params.text("ip_address"):
            hook["ip_address"] = address
        self._store.put("webhook", 0, hook)
        self._end_held_poll("terminated by setWebhook request")
        self._deliver_by_webhook()
        same = {**before, **hook} == before
        return Described(result=True, description=f"Webhook {'is already' if same else 'was'} set")

    def delete_webhook(self, params: Params) -> Described:
        """Go back to polling."""
        if params.flag("drop_pending_updates"):
            self.forget_all()
        was = "was" if self.webhook["url"] else "is already"
        self._store.drop("webhook", 0)
        self._webhook.cancel()
        return Described(result=True, description=f"Webhook {was} deleted")

    def webhook_info(self) -> Json:
        """Describe the webhook and what waits for it."""
        info = {name: value for name, value in self.webhook.items() if name != "secret"}
        info |= {"has_custom_certificate": False, "pending_update_count": len(self._pending)}
        if allowed := self._store.get("allowed_updates", 0):
            info["allowed_updates"] = allowed
        return info

    def _remember_allowed(self, params: Params) -> None:
        allowed = params.document("allowed_updates")
        if isinstance(allowed, list):
            self._store.put("allowed_updates", 0, allowed)

    def _poll_seconds(self, offset: int, asked: int) -> float:
        """Slow down whoever asks for the same again and again."""
        now = time.monotonic()
        last_offset, last_at = self._last_poll
        self._last_poll = (offset, now)
        hold = self._options.repeat_poll_seconds
        if offset == last_offset and asked < hold and now < last_at + hold:
            return hold
        return min(asked, LONGEST_POLL)

    def _forget_before(self, offset: int) -> None:
        now = time.time()
        numbers = sorted(self._pending)
        kept = set(numbers[offset:]) if offset < 0 else {n for n in numbers if n >= offset}
        self._confirm(*(n for n in numbers if n not in kept or self._pending[n]["until"] < now))

    def _ready(self, limit: int) -> list[Json]:
        again, self._again = self._again, []
        pending = [self._pending[number]["update"] for number in sorted(self._pending)]
        return (again + pending)[:limit]

    async def _hold(self, seconds: float, gone: Callable[[], Coroutine[Any, Any, None]]) -> str:
        """Wait; say why the poll was ended by another request, if it was."""
        held: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._held = held
        left = asyncio.create_task(gone())
        waiting: set[asyncio.Future[Any]] = {held, left}
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await left
            if self._held is held:
                self._held = None
        return held.result() if held.done() else ""

    def _end_held_poll(self, reason: str) -> None:
        if self._held is not None and not self._held.done():
            self._held.set_result(reason)
        self._held = None

    def _hand_over(self, item: Json) -> None:
        if self.webhook["url"]:
            self._webhook.push(item)
        elif self._held is not None and not self._held.done():
            self._held.set_result("")

    def _deliver_by_webhook(self) -> None:
        self._webhook.cancel()
        if self.webhook["url"]:
            self._webhook.aim(self.webhook)
            for item in list(self._pending.values()):
                self._webhook.push(item)

    def _confirm(self, *numbers: int) -> None:
        for number in numbers:
            self._pending.pop(number, None)
            self._store.drop("update", number)

    def _confirm_delivered(self, number: int) -> None:
        self._confirm(number)
        self._store.commit()

    def _note_error(self, words: str) -> None:
        error: Json = {"last_error_date": int(time.time()), "last_error_message": words}
        self._store.put("webhook", 0, self.webhook | error)
        self._store.commit()

    def _give_up_webhook(self) -> None:
        self.delete_webhook(Params())
        self._store.commit()
