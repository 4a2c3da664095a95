"""Pushes from the meters' clouds (CTWing, OneNET, Tuya): stored, then answered at once."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.responses import PlainTextResponse

from bot.api.auth import Caller, WaitingGateway, find_caller
from bot.gateway.intake import Gatherer
from bot.gateway.profile import Profile

router = APIRouter(prefix="/api/v1/push", tags=["readings"])

Token = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
CHECK_LENGTH_MAX = 200


@router.post("/{profile}")
async def push(request: Request, gateway: WaitingGateway, profile: str) -> dict[str, str]:
    """
    Store one message of a cloud, and answer when it is committed.

    What cannot be used is kept with the reason and answered like the rest: a cloud that is told
    of failures stops sending for a while, and loses what comes meanwhile.
    """
    return await _store(request, gateway, profile)


# The next two have a secret in their address and no place in the published document.
@router.post("/{profile}/{token}", include_in_schema=False)
async def push_by_address(request: Request, profile: str, token: Token) -> dict[str, str]:
    """Do the same for a cloud that knows nothing but an address: the credential is its end."""
    return await _store(request, await _find_gateway(request, token), profile)


@router.get("/{profile}/{token}", include_in_schema=False)
async def check(
    request: Request,
    profile: str,
    token: Token,
    msg: Annotated[str, Query(max_length=CHECK_LENGTH_MAX)] = "",
) -> PlainTextResponse:
    """Answer a cloud that tries the address before it sends: `msg` comes back."""
    await _find_gateway(request, token)
    _find_profile(request, profile)
    return PlainTextResponse(msg)


async def _find_gateway(request: Request, token: str) -> Caller:
    async with request.app.state.database.transaction() as session:
        caller = await find_caller(session, token, now=request.app.state.clock.now())
    if caller.scope != "gateway":
        raise HTTPException(403)
    return caller


def _find_profile(request: Request, name: str) -> Profile:
    found: Profile | None = request.app.state.profiles.get(name)
    if found is None or found.transport != "http":
        raise HTTPException(404)
    return found


async def _store(request: Request, gateway: Caller, name: str) -> dict[str, str]:
    profile = _find_profile(request, name)
    pushes: Gatherer = request.app.state.pushes
    await pushes.store(gateway_id=gateway.key_id, profile=profile, payload=await request.body())
    return {"status": "kept"}
