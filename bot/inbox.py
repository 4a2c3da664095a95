"""Updates: stored before they are acknowledged, handled once and in order per chat, or parked."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Index, Select, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, aliased, mapped_column

from bot.clock import Clock
from core.db import Base, Database
from core.errors import DomainError

log = structlog.get_logger()

TRIES_MAX = 3
KEPT = timedelta(days=30)
IDLE_SECONDS = 1.0


BOUNCE = timedelta(seconds=10)
BOUNCE_UPDATES = 1000  # how many updates of others may lie between the two presses


class StoredUpdate(Base):
    """An update as Telegram sent it; `chat` is the lane in which order is kept."""

    __tablename__ = "inbox"
    __table_args__ = (
        Index(
            "ix_inbox_waiting",
            "chat",
            "update_id",
            postgresql_where=text("handled_at IS NULL AND parked_at IS NULL"),
        ),
    )

    update_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    chat: Mapped[str]
    payload: Mapped[dict[str, Any]]
    received_at: Mapped[datetime]
    handled_at: Mapped[datetime | None]
    parked_at: Mapped[datetime | None]
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    error: Mapped[str | None]


def chat_of(payload: dict[str, Any]) -> str:
    """Return the chat an update belongs to, or the person for updates without a chat."""
    for part in payload.values():
        if isinstance(part, dict):
            message = part.get("message") if "data" in part else part
            for owner, source in (("chat", message), ("from", part)):
                with contextlib.suppress(KeyError, TypeError):
                    return str(source[owner]["id"])  # type: ignore[index]  # that is suppressed
    return ""


def storable(value: Any) -> Any:  # noqa: ANN401 (any JSON)
    """Return JSON without what no text column takes: NUL and halves of surrogate pairs."""
    match value:
        case str():
            tidy = value.replace("\0", "\ufffd")
            return tidy.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case dict():
            return {storable(name): storable(item) for name, item in value.items()}
        case list():
            return [storable(item) for item in value]
    return value


async def store(
    session: AsyncSession, *, payloads: Sequence[dict[str, Any]], received_at: datetime
) -> int:
    """Keep updates for handling; one that was seen before is ignored. Return how many were new."""
    if not payloads:
        return 0
    added = await session.execute(
        insert(StoredUpdate)
        .values(
            [
                {
                    "update_id": payload["update_id"],
                    "chat": chat_of(payload),
                    "payload": storable(payload),
                    "received_at": received_at,
                }
                for payload in payloads
            ]
        )
        .on_conflict_do_nothing(index_elements=["update_id"])
        .returning(StoredUpdate.update_id)
    )
    return len(added.all())


async def is_second_press(session: AsyncSession, payload: dict[str, Any], *, now: datetime) -> bool:
    """Tell whether the same button was pressed a moment before: a finger that bounced."""
    press = payload.get("callback_query", {})
    message_id = press.get("message", {}).get("message_id")
    before = await session.scalar(
        select(StoredUpdate.update_id)
        .where(
            StoredUpdate.update_id.between(
                payload["update_id"] - BOUNCE_UPDATES, payload["update_id"] - 1
            ),
            StoredUpdate.chat == chat_of(payload),
            StoredUpdate.handled_at > now - BOUNCE,
            StoredUpdate.payload["callback_query"]["data"].as_string() == press.get("data"),
            StoredUpdate.payload["callback_query"]["message"]["message_id"].as_integer()
            == message_id,
        )
        .limit(1)
    )
    return before is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """What handling an update asks to be done once its effect is committed."""

    after: Callable[[], Coroutine[Any, Any, None]] | None = None


Handler = Callable[[AsyncSession, dict[str, Any], datetime], Awaitable[Handled]]
Refuse = Callable[[AsyncSession, dict[str, Any], datetime, Exception], Awaitable[Handled]]


class Inbox:
    """Takes stored updates one at a time per chat; any number of replicas may run one."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        handle: Handler,
        refuse: Refuse,
        workers: int = 4,
    ) -> None:
        self._database = database
        self._clock = clock
        self._handle = handle
        self._refuse = refuse
        self._workers = workers
        self._woken = asyncio.Semaphore(0)
        self._answering: set[asyncio.Task[None]] = set()

    def wake(self, count: int) -> None:
        """Have workers look for this many new updates now."""
        for _ in range(min(count, self._workers)):
            self._woken.release()

    async def run(self) -> None:
        """Handle updates until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            try:
                while await self.handle_one():
                    pass
            except Exception:
                log.exception("inbox.failed")
                await asyncio.sleep(1)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._woken.acquire()

    async def handle_one(self) -> bool:
        """Handle the oldest waiting update that is the first of its chat; tell if there was one."""
        now = self._clock.now()
        update_id = None
        handled = Handled()
        try:
            async with self._database.transaction() as session:
                claimed = (await session.execute(FIRST_WAITING)).first()
                if claimed is None:
                    return False
                update_id = claimed.update_id
                try:
                    async with session.begin_nested():
                        handled = await self._handle(session, claimed.payload, now)
                except DomainError as refusal:
                    handled = await self._refuse(session, claimed.payload, now, refusal)
                await session.execute(
                    update(StoredUpdate)
                    .where(StoredUpdate.update_id == update_id)
                    .values(handled_at=now)
                )
        except Exception as error:
            if update_id is None:
                raise
            log.exception("inbox.update_failed", update_id=update_id)
            handled = await self._count_failure(update_id, now=now, error=error)
        if handled.after is not None:
            task = asyncio.create_task(handled.after())
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        return True

    async def _count_failure(self, update_id: int, *, now: datetime, error: Exception) -> Handled:
        async with self._database.transaction() as session:
            stored = await session.get_one(StoredUpdate, update_id, with_for_update=True)
            stored.tries += 1
            stored.error = f"{type(error).__name__}: {error}"[:500]
            if stored.tries < TRIES_MAX:
                return Handled()
            stored.parked_at = now
            try:
                async with session.begin_nested():
                    return await self._refuse(session, stored.payload, now, error)
            except Exception:
                log.exception("inbox.no_apology", update_id=update_id)
            return Handled()


def _first_waiting() -> Select[int, dict[str, Any], None]:
    """
    Return the query that takes the oldest update that is the first of its chat.

    It holds the chat too: an update with a smaller number may still come, and become the first
    while this one is being handled.
    """
    earlier = aliased(StoredUpdate)
    first = (
        select(StoredUpdate.update_id, StoredUpdate.payload, StoredUpdate.chat)
        .where(
            StoredUpdate.handled_at.is_(None),
            StoredUpdate.parked_at.is_(None),
            ~select(earlier.update_id)
            .where(
                earlier.chat == StoredUpdate.chat,
                earlier.update_id < StoredUpdate.update_id,
                earlier.handled_at.is_(None),
                earlier.parked_at.is_(None),
            )
            .exists(),
        )
        .order_by(StoredUpdate.update_id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .subquery()
    )
    key = func.hashtextextended(func.concat("chat:", first.c.chat), 0)
    return select(first.c.update_id, first.c.payload, func.pg_advisory_xact_lock(key))


FIRST_WAITING = _first_waiting()


async def forget_old(session: AsyncSession, *, now: datetime) -> None:
    """Empty the payload of updates handled long ago; their ids stay, so none is handled again."""
    await session.execute(
        update(StoredUpdate)
        .where(StoredUpdate.handled_at < now - KEPT, StoredUpdate.payload != {})
        .values(payload={})
    )
