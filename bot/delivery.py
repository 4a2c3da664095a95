"""Sending what is due: in the person's language, in lanes, within limits, with an outcome."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from aiolimiter import AsyncLimiter
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from telegram import Bot
from telegram.error import RetryAfter, TelegramError

from bot import outcomes, telegram
from bot.clock import Clock
from bot.context import PayLink, Reader, Render, no_link
from bot.due import NEXT_DUE, has_newer_drawing
from bot.outcomes import Result
from bot.outgoing import Outgoing, keyboard_from_json
from bot.splitting import split
from bot.texts import Texts
from core.accounts import service as accounts
from core.accounts.models import Contact
from core.db import Database
from core.notices.models import Card, Delivery, Lane, Outcome

log = structlog.get_logger()

AT_ONCE = 20
REPLIES_AT_ONCE = 10
IDLE_SECONDS = 1.0
STOP_SECONDS = 5.0
REPLY = "reply"  # the kind of message whose words are in its params


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    How fast messages leave: under 30 a second, with room for replies beside everything else.

    `burst` answers go to one chat at once, then one a second.

    Units:
        `_seconds`: seconds between two messages.
    """

    overall_seconds: float = 0.036
    bulk_seconds: float = 0.045
    broadcast_seconds: float = 0.066
    burst: int = 8


LIMITS = Limits()


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


def reply_of(params: Mapping[str, Any]) -> Outgoing:
    """Return an answer whose words were chosen in the turn itself."""
    return Outgoing(
        text=params["text"],
        keyboard=keyboard_from_json(params.get("keyboard") or []),
        reply_keys=params.get("reply_keys"),
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
        pay_link: PayLink = no_link,
        limits: Limits = LIMITS,
    ) -> None:
        self._database = database
        self._clock = clock
        self._bot = bot
        self._renderers = renderers
        self._provider_token = provider_token
        self._pay_link = pay_link
        self._wake = asyncio.Event()
        self._busy: set[int] = set()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._claiming: asyncio.Task[None] | None = None
        self._replies = 0
        self._lost = False
        self._stopping = False
        self._burst = limits.burst
        self._overall = AsyncLimiter(1, limits.overall_seconds)
        self._bulk = AsyncLimiter(1, limits.bulk_seconds)
        self._broadcast = AsyncLimiter(1, limits.broadcast_seconds)
        self._per_chat: dict[int, AsyncLimiter] = {}
        self._paused_lanes: dict[Lane, float] = {}
        self._paused_chats: dict[int, float] = {}

    def wake(self) -> None:
        """Look for due deliveries now."""
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled, as soon as no other replica does; what is on its way gets there."""
        async with self._database.sole("shuidian.sender") as connection:
            self._stopping, self._lost = False, True
            try:
                while True:
                    await self._round(connection)
            finally:
                self._stopping = True
                await self._until_claimed()
                if self._tasks:
                    await asyncio.wait(self._tasks.values(), timeout=STOP_SECONDS)
                for task in self._tasks.values():
                    task.cancel()
                await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _round(self, lock: AsyncConnection) -> None:
        self._wake.clear()
        if self._lost:
            await self._settle_interrupted()
            self._lost = False
        # To be stopped between a claim and its start would leave claimed what nobody works on.
        self._claiming = asyncio.create_task(self._take_up(lock))
        await asyncio.shield(self._claiming)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_SECONDS):
                await self._wake.wait()

    async def _until_claimed(self) -> None:
        if self._claiming is not None:
            await asyncio.wait([self._claiming], timeout=STOP_SECONDS)
            self._claiming.cancel()
            await asyncio.gather(self._claiming, return_exceptions=True)

    async def _take_up(self, lock: AsyncConnection) -> None:
        for delivery_id, contact_id, lane in await self._claim(lock):
            self._start(delivery_id, contact_id, lane)

    def _start(self, delivery_id: int, contact_id: int, lane: Lane) -> None:
        self._busy.add(contact_id)
        self._replies += lane is Lane.REPLY
        task = asyncio.create_task(self._deliver(delivery_id))
        self._tasks[delivery_id] = task

        def done(finished: asyncio.Task[None]) -> None:
            del self._tasks[delivery_id]
            self._busy.discard(contact_id)
            self._replies -= lane is Lane.REPLY
            self._wake.set()
            if not finished.cancelled() and finished.exception() is not None:
                self._lost = True
                log.error("delivery.failed", exc_info=finished.exception())

        task.add_done_callback(done)

    async def _claim(self, lock: AsyncConnection) -> list[tuple[int, int, Lane]]:
        """
        Take due deliveries, at most one a contact; some places are kept free for replies.

        This goes over the connection that holds the lock: whoever lost the hold takes nothing.
        """
        now = self._clock.now()
        others_free = AT_ONCE - (len(self._tasks) - self._replies)
        free = {True: REPLIES_AT_ONCE - self._replies, False: others_free}
        lanes = [lane for lane in Lane if free[lane is Lane.REPLY] > 0 and not self._is_held(lane)]
        busy = {contact for contact in self._paused_chats if self._is_held(Lane.REPLY, contact)}
        taken: dict[int, tuple[int, int, Lane]] = {}
        rows = await lock.execute(
            NEXT_DUE,
            {
                "now": now,
                "lanes": lanes,
                "busy": sorted(self._busy | busy),
                "count": (AT_ONCE + REPLIES_AT_ONCE) * len(Lane),
            },
        )
        for delivery_id, contact_id, number in rows:
            lane = Lane(number)
            if contact_id not in taken and free[lane is Lane.REPLY] > 0:
                free[lane is Lane.REPLY] -= 1
                taken[contact_id] = (delivery_id, contact_id, lane)
        if taken:
            await lock.execute(
                update(Delivery)
                .where(Delivery.id.in_([delivery_id for delivery_id, _, _ in taken.values()]))
                .values(outcome=Outcome.SENDING, claimed_at=now, attempts=Delivery.attempts + 1)
            )
        return list(taken.values())

    async def _deliver(self, delivery_id: int) -> None:
        job = await self._prepare(delivery_id)
        if job is None:
            return
        result = await self._send(job)
        await self._record(job.id, result, contact_id=job.contact_id, card=job.card)

    async def _prepare(self, delivery_id: int) -> Job | None:
        """Return what is to be sent, or nothing when it shall not be or cannot be made."""
        try:
            async with self._database.transaction() as session:
                return await self._make(session, delivery_id)
        except Exception as error:
            log.exception("delivery.render_failed", delivery=delivery_id)
            await self._record(delivery_id, outcomes.not_made(error, now=self._clock.now()))
            return None

    async def _make(self, session: AsyncSession, delivery_id: int) -> Job | None:
        delivery, contact, shown, is_outdated = (
            await session.execute(
                select(Delivery, Contact, Card.message_ref, has_newer_drawing())
                .join(Contact, Contact.id == Delivery.contact_id)
                .join(
                    Card,
                    (Card.contact_id == Contact.id) & (Card.card == Delivery.card),
                    isouter=True,
                )
                .where(Delivery.id == delivery_id)
            )
        ).one()
        if contact.unreachable_since is not None and delivery.lane != Lane.REPLY:
            delivery.outcome = Outcome.BLOCKED
            return None
        outgoing: Outgoing | None = None
        if delivery.kind == REPLY:
            outgoing = reply_of(delivery.params)
        elif not is_outdated:
            outgoing = await self._render(session, delivery)
        if outgoing is None:
            delivery.outcome = Outcome.SUPERSEDED
            return None
        return Job(
            id=delivery.id,
            contact_id=contact.id,
            lane=Lane(delivery.lane),
            attempts=delivery.attempts,
            address=contact.address,
            edit=delivery.params.get("edit") if shown is None else int(shown),
            card=delivery.card,
            outgoing=outgoing,
        )

    async def _render(self, session: AsyncSession, delivery: Delivery) -> Outgoing | None:
        speaker = await accounts.get_speaker(session, contact_id=delivery.contact_id)
        operator = await accounts.get_operator(session)
        reader = Reader(
            person_id=speaker.person_id,
            contact_id=speaker.contact_id,
            roles=speaker.roles,
            texts=Texts(speaker.locale, timezone=operator.timezone, currency=operator.currency),
            now=self._clock.now(),
            pay_link=self._pay_link,
        )
        return await self._renderers[delivery.kind](session, reader, delivery.params)

    async def _send(self, job: Job) -> Result:
        await self._within_limits(job)
        now = self._clock.now()
        if self._stopping or self._is_held(job.lane, job.contact_id):
            return Result(outcome=Outcome.POSTPONED, again_at=now, counts=False)
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
        until = asyncio.get_running_loop().time() + seconds
        if job.lane is Lane.REPLY:
            self._paused_chats[job.contact_id] = until
        else:
            self._paused_lanes[job.lane] = until

    def _is_held(self, lane: Lane, contact_id: int | None = None) -> bool:
        """Tell whether Telegram asked us to wait with a lane, or with a chat."""
        until = self._paused_lanes.get(lane, 0)
        if contact_id is not None:
            until = max(until, self._paused_chats.get(contact_id, 0))
        return until > asyncio.get_running_loop().time()

    async def _within_limits(self, job: Job) -> None:
        if len(self._per_chat) > 10_000:  # noqa: PLR2004 (only bounds the memory)
            self._per_chat.clear()
            self._paused_chats.clear()
        chat = self._per_chat.setdefault(job.contact_id, AsyncLimiter(self._burst, self._burst))
        await chat.acquire()
        if job.lane is Lane.BROADCAST:
            await self._broadcast.acquire()
        if job.lane is not Lane.REPLY:
            await self._bulk.acquire()
        await self._overall.acquire()

    async def _record(
        self, delivery_id: int, result: Result, *, contact_id: int = 0, card: str | None = None
    ) -> None:
        now = self._clock.now()
        values: dict[str, Any] = {"outcome": result.outcome, "error": result.error}
        if not result.counts:
            values["attempts"] = Delivery.attempts - 1
        if result.again_at is not None:
            values["due_at"] = result.again_at
        if result.outcome is Outcome.SENT:
            values["sent_at"] = now
        if result.message_ref is not None:
            values["message_ref"] = str(result.message_ref)
        async with self._database.transaction() as session:
            await session.execute(
                update(Delivery).where(Delivery.id == delivery_id).values(**values)
            )
            if card is not None and result.message_ref is not None:
                await session.execute(
                    insert(Card)
                    .values(contact_id=contact_id, card=card, message_ref=values["message_ref"])
                    .on_conflict_do_update(
                        index_elements=["contact_id", "card"],
                        set_={"message_ref": values["message_ref"]},
                    )
                )
            if result.unreachable:
                await accounts.set_unreachable(session, contact_id=contact_id, since=now)
            if result.migrated_to is not None:
                contact = await session.get_one(Contact, contact_id)
                contact.address = result.migrated_to

    async def _settle_interrupted(self) -> None:
        """Decide on deliveries that nobody works on any more: their fate is unknown."""
        now = self._clock.now()
        async with self._database.transaction() as session:
            interrupted = await session.scalars(
                select(Delivery).where(
                    Delivery.outcome == Outcome.SENDING, Delivery.id.notin_(list(self._tasks))
                )
            )
            for delivery in interrupted:
                result = outcomes.after_unknown(
                    Lane(delivery.lane), attempts=delivery.attempts, now=now, reason="interrupted"
                )
                delivery.outcome = result.outcome
                delivery.error = result.error
                if result.again_at is not None:
                    delivery.due_at = now
