"""Requests that may be repeated: the same key has the same effect once, and the same answer."""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import Depends, Header, Request
from pydantic import BaseModel
from sqlalchemy import ForeignKey, delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from bot.api.auth import AnyCaller
from bot.api.context import Now, Session
from core.db import Base
from core.errors import DomainError

KEPT = timedelta(days=30)
Answer = TypeVar("Answer", bound=BaseModel)


class KeyUsedDifferently(DomainError):
    """The idempotency key came before, with another request."""

    code = "input.key_used_differently"


class KeptAnswer(Base):
    """The answer to a request with a key; `answer` is empty only while the request is at work."""

    __tablename__ = "kept_answers"

    caller_id: Mapped[int] = mapped_column(ForeignKey("api_keys.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[str]
    answer: Mapped[dict[str, Any] | None]
    at: Mapped[datetime]


class Repeatable(Protocol):
    """Does something once per key."""

    async def __call__(self, act: Callable[[], Awaitable[Answer]], kind: type[Answer]) -> Answer:
        """Return what `act` answers, now or when the key came first."""
        ...


async def _once(
    request: Request,
    session: Session,
    now: Now,
    caller: AnyCaller,
    idempotency_key: Annotated[
        str,
        Header(
            max_length=255,
            description="With a key of your own choice a request may be sent again: it has its"
            " effect once, and the same answer.",
        ),
    ] = "",
) -> Repeatable:
    words = f"{request.method} {request.url.path}\n".encode() + await request.body()
    request_hash = hashlib.sha256(words).hexdigest()

    async def once(act: Callable[[], Awaitable[Answer]], kind: type[Answer]) -> Answer:
        if not idempotency_key:
            return await act()
        is_first = await session.scalar(
            insert(KeptAnswer)
            .values(caller_id=caller.key_id, key=idempotency_key, request_hash=request_hash, at=now)
            .on_conflict_do_nothing()
            .returning(KeptAnswer.key)
        )
        kept = await session.get_one(KeptAnswer, (caller.key_id, idempotency_key))
        if is_first is None:
            if kept.request_hash != request_hash or kept.answer is None:
                raise KeyUsedDifferently
            return kind.model_validate(kept.answer)
        made = await act()
        kept.answer = made.model_dump(mode="json")
        await session.execute(
            delete(KeptAnswer).where(
                KeptAnswer.caller_id == caller.key_id, KeptAnswer.at < now - KEPT
            )
        )
        return made

    return once


Once = Annotated[Repeatable, Depends(_once, scope="function")]
