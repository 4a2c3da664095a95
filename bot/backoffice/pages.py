"""The managers' web pages as one router: signing in and out, and the pages of each matter."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import FileResponse, RedirectResponse

from bot.api.context import Now, Session
from bot.backoffice import (
    billing_pages,
    dispute_pages,
    gateway_pages,
    money,
    plan_pages,
    prepaid_pages,
    reading_pages,
    repair_pages,
    run_pages,
    sessions,
)
from bot.backoffice.desk import (
    COOKIE,
    HEADERS,
    HERE,
    OfficeRoute,
    OwnPage,
    find_visitor,
    message,
    page,
    texts_for,
)
from bot.backoffice.sessions import SESSION_LIFE

TOKEN_LENGTH_MAX = 64
router = APIRouter(prefix="/office", include_in_schema=False, route_class=OfficeRoute)


@router.get("")
async def show_start() -> Response:
    """Lead to the list."""
    return RedirectResponse("/office/repairs", 303)


@router.get("/office.css")
async def get_style() -> Response:
    """Return the one stylesheet."""
    return FileResponse(HERE / "office.css", media_type="text/css")


@router.get("/enter")
async def show_link(session: Session, now: Now, token: str = "") -> Response:
    """
    Ask whoever follows a link to press a button.

    Programs that look at links before people do would use it up otherwise.
    """
    if len(token) <= TOKEN_LENGTH_MAX:
        invited = await sessions.find_invited(session, token=token, now=now)
        if invited is not None:
            texts = await texts_for(session, invited)
            return page("enter.html", texts, name=invited.name, token=token)
    return await message(session, "link_over", 410)


@router.post("/enter", dependencies=[OwnPage])
async def enter(
    request: Request,
    session: Session,
    now: Now,
    token: Annotated[str, Form(max_length=TOKEN_LENGTH_MAX)],
) -> Response:
    """Use up the link and open a session."""
    secret = await sessions.open_session(session, token=token, now=now)
    if secret is None:
        return await message(session, "link_over", 410)
    response = RedirectResponse("/office/repairs", 303, headers=HEADERS)
    response.set_cookie(
        COOKIE,
        secret,
        max_age=int(SESSION_LIFE.total_seconds()),
        path="/office",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return response


@router.post("/leave", dependencies=[OwnPage])
async def leave(request: Request, session: Session, now: Now) -> Response:
    """End the session."""
    await sessions.end_session(session, secret=request.cookies.get(COOKIE, ""), now=now)
    response = await message(session, "signed_out", 200)
    response.delete_cookie(COOKIE, path="/office")
    return response


for matter in (
    repair_pages,
    reading_pages,
    run_pages,
    billing_pages,
    dispute_pages,
    plan_pages,
    gateway_pages,
    money,
    prepaid_pages,
):
    router.include_router(matter.router)


@router.get("/{_rest:path}")  # noqa: FAST003 (whatever it is)
async def show_nothing(request: Request, session: Session, now: Now) -> Response:
    """Answer an address that is none with a page; must stay the last route."""
    visitor = await find_visitor(request, session, now)
    texts = await texts_for(session, visitor)
    return page("message.html", texts, 404, message=texts.plain("office.nothing_here"))
