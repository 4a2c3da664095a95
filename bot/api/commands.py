"""The gateways' side of supply: commands for their devices, and what the devices say."""

import asyncio
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import AwareDatetime, BaseModel, Field

from bot.api.auth import Gateway, WaitingGateway
from bot.api.context import Now, Session
from core.accounts.models import Service, Supply
from core.supply import commands, reports
from core.supply.models import OrderState
from core.supply.reports import Fate, Report

router = APIRouter(prefix="/api/v1", tags=["gateways"])

WAIT_SECONDS_MAX = 30
LOOK_SECONDS = 1
Nonce = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class CommandBody(BaseModel):
    """What a device is to do; the same nonce is the same command, however often it comes."""

    number: str
    meter: str
    service: Service
    wanted: Supply
    nonce: str
    valid_until: datetime | None


class AcceptedBody(BaseModel):
    """Where the order stands now; anything but `accepted` or `confirmed` means: do not do it."""

    state: OrderState


class StateIn(BaseModel):
    """What a device says about its switch, by its own clock."""

    meter: Annotated[str, Field(pattern=r"^[^\x00-\x1f]{1,64}$")]
    state: Supply
    taken_at: AwareDatetime


class StatesIn(BaseModel):
    """Reports of devices."""

    states: Annotated[list[StateIn], Field(min_length=1, max_length=1000)]


class StatesBody(BaseModel):
    """What became of each report, in the order in which they were sent."""

    fates: list[Fate]


@router.get("/commands")
async def wait_for_commands(
    request: Request,
    gateway: WaitingGateway,
    wait: Annotated[int, Query(ge=0, le=WAIT_SECONDS_MAX)] = 0,
) -> list[CommandBody]:
    """Return the commands for the gateway's meters, waiting some seconds until there are any."""
    app = request.app
    until = asyncio.get_running_loop().time() + wait
    while True:
        async with app.state.database.transaction() as session:
            found = await commands.dispatch(
                session, gateway_id=gateway.key_id, now=app.state.clock.now()
            )
        is_over = asyncio.get_running_loop().time() >= until or app.state.is_stopping
        if found or is_over:
            return [CommandBody.model_validate(each, from_attributes=True) for each in found]
        await asyncio.sleep(LOOK_SECONDS)


@router.post("/commands/{nonce}/accepted")
async def accept(session: Session, now: Now, gateway: Gateway, nonce: Nonce) -> AcceptedBody:
    """Take note that a command was passed on to its device; it confirms nothing."""
    state = await commands.accept_command(session, gateway_id=gateway.key_id, nonce=nonce, now=now)
    return AcceptedBody(state=state)


@router.post("/device-states")
async def report(session: Session, now: Now, gateway: Gateway, body: StatesIn) -> StatesBody:
    """Take what devices say about their switches; only this confirms a command."""
    fates = await reports.report_states(
        session,
        gateway_id=gateway.key_id,
        reports=[Report(each.meter, each.state, each.taken_at) for each in body.states],
        now=now,
    )
    return StatesBody(fates=fates)
