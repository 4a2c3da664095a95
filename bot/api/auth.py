"""Credentials of programs: a bearer token whose hash and scope are kept."""

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.api.context import Now, Session
from core import audit
from core.accounts.models import ApiKey
from core.errors import DomainError

USE_NOTED_EVERY = timedelta(hours=1)

bearer = HTTPBearer(description="The credential printed by `shuidian token`.")


class TokenNotFound(DomainError):
    """No working credential has this name."""

    code = "token.not_found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The program that calls."""

    key_id: int
    name: str
    scope: str


async def issue_token(
    session: AsyncSession,
    *,
    name: str,
    scope: str,
    now: datetime,
    profile: str | None = None,
    below: str = "",
) -> str:
    """Return a new token for a program; it is shown once, only its hash is kept."""
    token = f"sd_{scope}_{secrets.token_urlsafe(32)}"
    key = ApiKey(
        name=name,
        token_hash=_hashed(token),
        scope=scope,
        profile=profile,
        below=below,
        created_at=now,
    )
    session.add(key)
    await session.flush()
    return token


async def revoke_token(session: AsyncSession, *, name: str, now: datetime) -> None:
    """
    Let a program's credential open nothing any more; its name stays taken.

    Raises:
        TokenNotFound: no working credential has this name.
    """
    key = await session.scalar(
        select(ApiKey).where(ApiKey.name == name, ApiKey.revoked_at.is_(None)).with_for_update()
    )
    if key is None:
        raise TokenNotFound(name=name)
    key.revoked_at = now
    audit.record(session, at=now, actor_id=None, action="token.revoked", subject=f"token:{name}")


async def _find_caller(
    session: Session,
    now: Now,
    credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)],
) -> Caller:
    return await find_caller(session, credentials.credentials, now=now)


async def find_caller(session: AsyncSession, token: str, *, now: datetime) -> Caller:
    """Return the program whose token this is, or refuse with 401."""
    key = await session.scalar(
        select(ApiKey).where(ApiKey.token_hash == _hashed(token), ApiKey.revoked_at.is_(None))
    )
    if key is None:
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    if key.last_used_at is None or key.last_used_at < now - USE_NOTED_EVERY:
        # Not every time: the row would be locked, and a caller's requests go one by one.
        key.last_used_at = now
    return Caller(key_id=key.id, name=key.name, scope=key.scope)


AnyCaller = Annotated[Caller, Depends(_find_caller, scope="function")]


async def _find_caller_briefly(
    request: Request,
    now: Now,
    credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)],
) -> Caller:
    """Find the caller in a transaction of its own: the request waits without holding one."""
    async with request.app.state.database.transaction() as session:
        return await _find_caller(session, now, credentials)


def _caller_with(scope: str, found: Callable[..., Awaitable[Caller]]) -> Callable[[Caller], Caller]:
    def check(caller: Annotated[Caller, Depends(found, scope="function")]) -> Caller:
        if caller.scope != scope:
            raise HTTPException(403)
        return caller

    return check


Admin = Annotated[Caller, Depends(_caller_with("admin", _find_caller))]
Gateway = Annotated[Caller, Depends(_caller_with("gateway", _find_caller))]
WaitingGateway = Annotated[Caller, Depends(_caller_with("gateway", _find_caller_briefly))]


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
