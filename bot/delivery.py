"""Sending what is due: in the person's language, in lanes, within limits, with an outcome."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from aiolimiter import AsyncLimiter
from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from telegram import Bot
from telegram.error import RetryAfter, TelegramError

from bot import outcomes, telegram
from bot.clock import Clock
from bot.context import Reader, Render
from bot.outcomes import Result
from bot.outgoing import Outgoing, keyboard_from_json
from bot.texts import Texts
from core.accounts import service as accounts
from core.accounts.models import Contact
from core.db import Database
from core.notices.models import Card, Delivery, Lane, Outcome

log = structlog.get_logger()

AT_ONCE = 20
REPLIES_AT_ONCE = 10
OVERALL_SECONDS = 0.036  # one message each: under 30 a second, evenly, with no opening burst
BROADCAST_SECONDS = 0.066
IDLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A claimed delivery and what is needed to send it."""

    id: int
    contact_id: int
    lane: Lane
    attempts: int
    address: str
    edit: int | None
    card: str | None
    outgoing: Outgoing


async def render_reply(
    _session: AsyncSession, _reader: Reader, params: dict[str, object]
) -> Outgoing:
    """Return an answer whose words were chosen in the turn itself."""
    return Outgoing(
        text=str(params["text"]),
        keyboard=keyboard_from_json(params.get("keyboard") or []),  # type: ignore[arg-type]  # ours
        reply_keys=params.get("reply_keys"),  # type: ignore[arg-type]  # ours
    )


class Sender:
    """Sends due deliveries; of all replicas only the one that holds the lock does."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        bot: Bot,
        *,
        renderers: Mapping[str, Render],
        provider_token: str = "",
    ) -> None:
        self._database = database
        self._clock = clock
        self._bot = bot
        self._renderers: Mapping[str, Render] = {**renderers, "reply": render_reply}
        self._provider_token = provider_token
        self._wake = asyncio.Event()
        self._busy: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._replies = 0
        self._overall = AsyncLimiter(1, OVERALL_SECONDS)
        self._broadcast = AsyncLimiter(1, BROADCAST_SECONDS)
        self._per_chat: dict[int, AsyncLimiter] = {}
        self._paused: dict[Lane | int, float] = {}

    def wake(self) -> None:
        """Look for due deliveries now."""
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled, as soon as no other replica does."""
        async with self._database.sole("shuidian.sender") as connection:
            await self._settle_interrupted()
            try:
                while True:
                    await self._round(connection)
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _round(self, lock: AsyncConnection) -> None:
        self._wake.clear()
        started = 0
        await lock.execute(text("SELECT 1"))  # fails when the hold was lost
        for delivery_id, contact_id, lane in await self._claim():
            self._start(delivery_id, contact_id, lane)
            started += 1
        if not started:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), timeout=IDLE_SECONDS)

    def _start(self, delivery_id: int, contact_id: int, lane: Lane) -> None:
        self._busy.add(contact_id)
        self._replies += lane is Lane.REPLY
        task = asyncio.create_task(self._deliver(delivery_id))
        self._tasks.add(task)

        def done(finished: asyncio.Task[None]) -> None:
            self._tasks.discard(finished)
            self._busy.discard(contact_id)
            self._replies -= lane is Lane.REPLY
            self._wake.set()
            if not finished.cancelled() and finished.exception() is not None:
                log.error("delivery.failed", exc_info=finished.exception())

        task.add_done_callback(done)

    async def _claim(self) -> list[tuple[int, int, Lane]]:
        """Take due deliveries, at most one a contact; some places are kept free for replies."""
        now = self._clock.now()
        loop_time = asyncio.get_running_loop().time()
        self._paused = {key: until for key, until in self._paused.items() if until > loop_time}
        others_free = AT_ONCE - (len(self._tasks) - self._replies)
        free = {True: REPLIES_AT_ONCE - self._replies, False: others_free}
        paused = [int(lane) for lane in Lane if lane in self._paused]
        quiet = self._busy | {key for key in self._paused if not isinstance(key, Lane)}
        async with self._database.transaction() as session:
            first = (
                select(Delivery.id, Delivery.contact_id, Delivery.lane)
                .ext(distinct_on(Delivery.contact_id))
                .where(
                    Delivery.outcome.in_([Outcome.DUE, Outcome.POSTPONED]),
                    Delivery.due_at <= now,
                    Delivery.lane.notin_(paused),
                    Delivery.contact_id.notin_(sorted(quiet)),
                )
                .order_by(Delivery.contact_id, Delivery.lane, Delivery.id)
                .subquery()
            )
            rows = await session.execute(
                select(first.c.id, first.c.contact_id, first.c.lane)
                .order_by(first.c.lane, first.c.id)
                .limit(AT_ONCE + REPLIES_AT_ONCE)
            )
            taken = []
            for delivery_id, contact_id, lane in rows:
                is_reply = lane == Lane.REPLY
                if free[is_reply] > 0:
                    free[is_reply] -= 1
                    taken.append((delivery_id, contact_id, Lane(lane)))
            if taken:
                await session.execute(
                    update(Delivery)
                    .where(Delivery.id.in_([row[0] for row in taken]))
                    .values(
                        outcome=Outcome.SENDING,
                        claimed_at=now,
                        attempts=Delivery.attempts + 1,
                    )
                )
        return taken

    async def _deliver(self, delivery_id: int) -> None:
        job = await self._prepare(delivery_id)
        if job is None:
            return
        result = await self._send(job)
        await self._record(job, result)

    async def _prepare(self, delivery_id: int) -> Job | None:
        now = self._clock.now()
        async with self._database.transaction() as session:
            delivery = await session.get_one(Delivery, delivery_id)
            contact = await session.get_one(Contact, delivery.contact_id)
            if contact.unreachable_since is not None and delivery.lane != Lane.REPLY:
                delivery.outcome = Outcome.BLOCKED
                return None
            try:
                async with session.begin_nested():
                    outgoing = await self._render(session, delivery, now)
            except Exception as error:
                log.exception("delivery.render_failed", kind=delivery.kind, delivery=delivery.id)
                delivery.outcome = Outcome.FAILED
                delivery.error = f"{type(error).__name__}: {error}"[:500]
                return None
            if outgoing is None:
                delivery.outcome = Outcome.SUPERSEDED
                return None
            edit = delivery.params.get("edit")
            if delivery.card is not None:
                shown = await session.get(Card, (contact.id, delivery.card))
                edit = int(shown.message_ref) if shown is not None else None
            return Job(
                id=delivery.id,
                contact_id=contact.id,
                lane=Lane(delivery.lane),
                attempts=delivery.attempts,
                address=contact.address,
                edit=edit,
                card=delivery.card,
                outgoing=outgoing,
            )

    async def _render(
        self, session: AsyncSession, delivery: Delivery, now: datetime
    ) -> Outgoing | None:
        speaker = await accounts.get_speaker(session, contact_id=delivery.contact_id)
        operator = await accounts.get_operator(session)
        reader = Reader(
            person_id=speaker.person_id,
            contact_id=speaker.contact_id,
            roles=speaker.roles,
            texts=Texts(speaker.locale, timezone=operator.timezone, currency=operator.currency),
            now=now,
        )
        return await self._renderers[delivery.kind](session, reader, delivery.params)

    async def _send(self, job: Job) -> Result:
        await self._within_limits(job)
        try:
            message_ref = None
            for part in split(job.outgoing):
                message_ref = await telegram.send(
                    self._bot,
                    chat_id=job.address,
                    outgoing=part,
                    edit=job.edit if part.text == job.outgoing.text else None,
                    silent=job.lane in {Lane.NOTICE, Lane.BROADCAST} and job.edit is not None,
                    provider_token=self._provider_token,
                )
        except TelegramError as error:
            if isinstance(error, RetryAfter):
                self._pause(job, seconds=outcomes.seconds_to_wait(error))
            return outcomes.outcome_of(
                error, lane=job.lane, attempts=job.attempts, now=self._clock.now()
            )
        return Result(outcome=Outcome.SENT, message_ref=message_ref)

    def _pause(self, job: Job, *, seconds: float) -> None:
        """Send nothing in this lane, or to this chat when it was a reply, for a while."""
        key = job.contact_id if job.lane is Lane.REPLY else job.lane
        self._paused[key] = asyncio.get_running_loop().time() + seconds

    async def _within_limits(self, job: Job) -> None:
        if len(self._per_chat) > 10_000:  # noqa: PLR2004 (only bounds the memory)
            self._per_chat.clear()
        chat = self._per_chat.setdefault(job.contact_id, AsyncLimiter(3, 3))
        if job.lane is Lane.BROADCAST:
            await self._broadcast.acquire()
        await chat.acquire()
        await self._overall.acquire()

    async def _record(self, job: Job, result: Result) -> None:
        now = self._clock.now()
        async with self._database.transaction() as session:
            delivery = await session.get_one(Delivery, job.id)
            delivery.outcome = result.outcome
            delivery.error = result.error
            if result.again_at is not None:
                delivery.due_at = result.again_at
            if result.message_ref is not None:
                delivery.sent_at = now
                delivery.message_ref = str(result.message_ref)
            if result.message_ref is not None and job.card is not None:
                await session.execute(
                    insert(Card)
                    .values(
                        contact_id=job.contact_id,
                        card=job.card,
                        message_ref=str(result.message_ref),
                    )
                    .on_conflict_do_update(
                        index_elements=["contact_id", "card"],
                        set_={"message_ref": str(result.message_ref)},
                    )
                )
            if result.unreachable:
                await accounts.set_unreachable(session, contact_id=job.contact_id, since=now)
            if result.migrated_to is not None:
                contact = await session.get_one(Contact, job.contact_id)
                contact.address = result.migrated_to

    async def _settle_interrupted(self) -> None:
        """Decide on deliveries that a killed sender left in the middle: their fate is unknown."""
        now = self._clock.now()
        async with self._database.transaction() as session:
            interrupted = await session.scalars(
                select(Delivery).where(Delivery.outcome == Outcome.SENDING)
            )
            for delivery in interrupted:
                result = outcomes.after_unknown(
                    Lane(delivery.lane), attempts=delivery.attempts, now=now, reason="interrupted"
                )
                delivery.outcome = result.outcome
                delivery.error = result.error
                if result.again_at is not None:
                    delivery.due_at = now


def split(outgoing: Outgoing) -> list[Outgoing]:
    """Return messages that Telegram takes: long texts are cut at line ends, buttons come last."""
    parts = split_text(outgoing.text)
    if len(parts) == 1 or outgoing.document or outgoing.photo or outgoing.invoice:
        return [outgoing]
    return [
        *(Outgoing(text=part) for part in parts[:-1]),
        replace(outgoing, text=parts[-1]),
    ]


def split_text(html: str, *, length_max: int = 4096) -> list[str]:
    """Cut HTML at line ends into parts of `length_max` UTF-16 units; no tag of ours spans lines."""
    parts: list[str] = []
    current: list[str] = []
    size = 0
    for line in html.split("\n"):
        units = len(line.encode("utf-16-le")) // 2 + 1
        if current and size + units > length_max:
            parts.append("\n".join(current))
            current, size = [], 0
        current.append(line)
        size += units
    parts.append("\n".join(current))
    return parts
