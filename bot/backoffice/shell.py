"""What all pages of the back office have in common: who looks, in which words, in which frame."""

from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.ext.asyncio import AsyncSession

from bot.backoffice import sessions
from bot.backoffice.sessions import Visitor
from bot.texts import Texts
from core.accounts import service as accounts

HERE = Path(__file__).parent
COOKIE = "office"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    # With `no-referrer` a browser would not name the origin of our own forms either.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
_templates = Environment(
    loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined
)


def is_own_page(request: Request) -> bool:
    """Tell whether a form was sent by a page of ours; a browser always names the origin."""
    origin = request.headers.get("origin", "")
    return bool(origin) and urlsplit(origin).netloc == request.headers.get("host")


async def find_visitor(request: Request, session: AsyncSession, now: datetime) -> Visitor | None:
    """Return the manager whose session it is."""
    secret = request.cookies.get(COOKIE, "")
    if not secret:
        return None
    return await sessions.find_visitor(session, secret=secret, now=now)


async def texts_for(session: AsyncSession, visitor: Visitor | None) -> Texts:
    """Return the words of a visitor's language, or of the operator's."""
    operator = await accounts.get_operator(session)
    locale = operator.locale if visitor is None else visitor.locale
    return Texts(locale, timezone=operator.timezone, currency=operator.currency)


async def show_message(session: AsyncSession, name: str, status: int) -> Response:
    """Return a page that says one thing to somebody who is not signed in."""
    texts = await texts_for(session, None)
    return show_page("message.html", texts, status, message=texts.plain(f"office.{name}"))


def show_page(template: str, texts: Texts, status: int = 200, **values: object) -> Response:
    """Return a page in the office's frame."""
    html = _templates.get_template(template).render(
        words=lambda key, /, **values: texts.plain(f"office.{key}", **values),
        lang=texts.locale.replace("_", "-"),
        **values,
    )
    return HTMLResponse(html, status, headers=HEADERS)
