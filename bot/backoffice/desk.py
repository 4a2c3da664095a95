"""What every page of the back office stands on: who visits, in which words, and safe answers."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import FormData

from bot.api.context import Now, Session
from bot.api.problems import status_of
from bot.backoffice import sessions
from bot.backoffice.sessions import Visitor
from bot.routes import explain
from bot.texts import Texts
from core.accounts import service as accounts
from core.errors import DomainError

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


class NotSignedIn(DomainError):
    """The page is for managers who signed in."""

    code = "office.signed_out"


class ForeignPage(DomainError):
    """The form was not sent by a page of ours."""

    code = "office.foreign"


_AGAIN = frozenset({409, 422})  # what can be put right in the form
_STATUS = {NotSignedIn.code: 401, ForeignPage.code: 403}


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A manager at a page: who, in which words, in which transaction, when."""

    visitor: Visitor
    texts: Texts
    session: AsyncSession
    now: datetime

    def page(self, template: str, status: int = 200, **values: object) -> Response:
        """Return a page in the visitor's language."""
        as_of = self.texts.plain("office.as_of", moment=self.texts.moment(self.now))
        return page(template, self.texts, status, visitor=self.visitor.name, as_of=as_of, **values)

    def not_found(self, key: str) -> Response:
        """Return the page that says that something is not there."""
        return self.page("message.html", 404, message=self.texts.plain(key))


async def _visit(request: Request, session: Session, now: Now) -> Visit:
    visitor = await find_visitor(request, session, now)
    if visitor is None:
        raise NotSignedIn
    texts = await texts_for(session, visitor)
    return Visit(visitor=visitor, texts=texts, session=session, now=now)


def require_own_page(request: Request) -> None:
    """
    Refuse a form that another site sent; a browser always names the origin.

    Raises:
        ForeignPage: the origin is another, or missing.
    """
    origin = request.headers.get("origin", "")
    if not origin or urlsplit(origin).netloc != request.headers.get("host"):
        raise ForeignPage


Signed = Annotated[Visit, Depends(_visit)]
OwnPage = Depends(require_own_page)  # for every route that changes something


class OfficeRoute(APIRoute):
    """
    A route whose refusals are pages, in the visitor's language where there is a visitor.

    What was typed into a form that is refused stands there again.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler that answers a refusal with a page."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except (DomainError, RequestValidationError) as refusal:
                async with request.app.state.database.transaction() as session:
                    visitor = await find_visitor(request, session, request.app.state.clock.now())
                    texts = await texts_for(session, visitor)
                missing: list[str] = []
                if isinstance(refusal, DomainError):
                    status = _STATUS.get(refusal.code) or status_of(refusal.code)
                    why = explain(texts, refusal)
                elif any(error["loc"][0] == "path" for error in refusal.errors()):
                    status, why = 404, texts.plain("office.nothing_here")
                else:
                    status, (why, missing) = 422, _wrong_fields(texts, refusal)
                typed = await request.form() if status in _AGAIN else FormData()
                fields = [each for each in typed.multi_items() if isinstance(each[1], str)]
                fields += [(name, "") for name in missing if name not in typed]
                shown = [_field(texts, *each) for each in fields]
                action = request.url.path if any(each["label"] for each in shown) else ""
                return page("message.html", texts, status, message=why, action=action, fields=shown)

        return answer


def _wrong_fields(texts: Texts, refusal: RequestValidationError) -> tuple[str, list[str]]:
    """Return what is wrong with a form, a sentence for each field, and what is missing in it."""
    said, missing = [], []
    for error in refusal.errors():
        name = str(error["loc"][-1])
        label = _label(texts, name) or name
        match error["type"]:
            case "missing":
                missing.append(name)
                said.append(texts.plain("office.wrong_missing", field=label))
            case "string_too_long":
                most = error["ctx"]["max_length"]
                said.append(texts.plain("office.wrong_too_long", field=label, most=most))
            case _:
                said.append(texts.plain("office.wrong_value", field=label))
    return " ".join(said), missing


def _label(texts: Texts, name: str) -> str:
    """Return what a field that people fill is called; nothing of one that the page fills."""
    return texts.plain(f"office.field_{name}") if texts.knows(f"office.field_{name}") else ""


def _field(texts: Texts, name: str, value: object) -> dict[str, str]:
    return {"name": name, "value": str(value), "label": _label(texts, name)}


async def find_visitor(request: Request, session: AsyncSession, now: datetime) -> Visitor | None:
    """Return the manager whose session the browser names, if it runs."""
    secret = request.cookies.get(COOKIE, "")
    if not secret:
        return None
    return await sessions.find_visitor(session, secret=secret, now=now)


async def texts_for(session: AsyncSession, visitor: Visitor | None) -> Texts:
    """Return the words for a visitor, or in the operator's language."""
    operator = await accounts.get_operator(session)
    locale = operator.locale if visitor is None else visitor.locale
    return Texts(locale, timezone=operator.timezone, currency=operator.currency)


async def message(session: AsyncSession, name: str, status: int) -> Response:
    """Return a page that says one thing to somebody who is not signed in."""
    texts = await texts_for(session, None)
    return page("message.html", texts, status, message=texts.plain(f"office.{name}"))


def page(template: str, texts: Texts, status: int = 200, **values: object) -> Response:
    """Return a template as an answer that runs no script and is not stored."""
    html = _templates.get_template(template).render(
        words=lambda key, /, **values: texts.plain(f"office.{key}", **values),
        lang=texts.locale.replace("_", "-"),
        **values,
    )
    return HTMLResponse(html, status, headers=HEADERS)


def photo(visit: Visit, content: bytes | None, media_type: str) -> Response:
    """Return a photo; what is not a picture after all is saved, not shown."""
    if not content:
        return visit.not_found("office.no_photo")
    shown = "inline" if media_type.startswith("image/") else "attachment"
    headers = {**HEADERS, "Content-Disposition": shown}
    return Response(content, media_type=media_type, headers=headers)
