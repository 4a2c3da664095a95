"""Refusals over HTTP: problem+json with a stable code, told in the caller's language."""

import http

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from bot.routes import explain
from bot.texts import Texts, locale_for
from core.errors import DomainError

_NOT_FOUND = ("not_found",)
_FORBIDDEN = ("not_allowed",)


def status_of(code: str) -> int:
    """Return the HTTP status of a refusal: what is missing 404, not yours 403, else 409."""
    if code.endswith(_NOT_FOUND):
        return 404
    if code.endswith(_FORBIDDEN):
        return 403
    if code.startswith("input."):
        return 422
    return 409


def problem(status: int, code: str, detail: str, **more: object) -> JSONResponse:
    """Return a problem in the form of RFC 9457."""
    title = http.HTTPStatus(status).phrase
    body = {"type": f"/problems/{code}", "title": title, "status": status, "detail": detail, **more}
    return JSONResponse(body, status_code=status, media_type="application/problem+json")


def _shown(part: object) -> str:
    """Return what a caller wrote so that it can be written back: short, and without half signs."""
    return str(part)[:200].encode(errors="replace").decode()


def install(app: FastAPI, *, timezone: str, currency: str, locale: str) -> None:
    """Have an application answer every refusal and error as a problem."""

    def texts_for(request: Request) -> Texts:
        wanted = request.headers.get("accept-language", "").split(",")[0].split(";")[0].strip()
        chosen = locale_for(wanted or None, default=locale)
        return Texts(chosen, timezone=timezone, currency=currency)

    async def refused(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, DomainError)  # noqa: S101 (registered for it)
        return problem(status_of(error.code), error.code, explain(texts_for(request), error))

    async def invalid(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101 (the same)
        errors = [
            {"where": [_shown(part) for part in item["loc"]], "why": _shown(item["msg"])}
            for item in error.errors()
        ]
        return problem(422, "input.invalid", "The request is not valid.", errors=errors[:100])

    async def failed(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # noqa: S101 (the same)
        answer = problem(error.status_code, f"http.{error.status_code}", str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    async def crashed(_request: Request, _error: Exception) -> JSONResponse:
        return problem(500, "http.500", "Something went wrong here; nothing was changed.")

    app.add_exception_handler(Exception, crashed)
    app.add_exception_handler(DomainError, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, failed)
