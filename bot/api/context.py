"""What every route gets: one transaction, the moment, and the program that calls."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession


async def _transaction(request: Request) -> AsyncIterator[AsyncSession]:
    """Open the request's transaction; it is committed before the answer is sent."""
    async with request.app.state.database.transaction() as session:
        yield session


def _now(request: Request) -> datetime:
    moment: datetime = request.app.state.clock.now()
    return moment


Session = Annotated[AsyncSession, Depends(_transaction, scope="function")]
Now = Annotated[datetime, Depends(_now)]
