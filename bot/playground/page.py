"""The page's side: JSON under /play/api, and the stream of events."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from bot.playground import media, payments, people
from bot.playground.about import bot_text, commands_for
from bot.playground.account import Account, as_shown
from bot.playground.faults import KINDS
from bot.playground.params import Json, Upload
from bot.playground.refusals import Refusal

SHOWN_MESSAGES: Final = 300
SHOWN_INLINE: Final = ("image/png", "image/jpeg", "image/gif", "image/webp", "audio/", "video/")
Act = Callable[[Account, Json, Json], object]


class Panel(Protocol):
    """What the host of the playground adds to the page: a clock and events of its own."""

    async def describe(self) -> dict[str, Any]:
        """Tell the state of the clock and the actions there are."""

    async def act(self, action: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Carry out an action; answer with a message for the person who asked."""


@dataclass(frozen=True)
class Page:
    """The endpoints of the page, for one bot."""

    account: Account
    panel: Panel | None

    def routes(self) -> list[Route]:
        """List the endpoints."""
        person = "/play/api/people/{id:int}"
        table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("GET", "/play/api/state", self.state),
            ("GET", "/play/api/events", self.events),
            ("POST", "/play/api/people", self.add_person),
            ("PATCH", person, self.change_person),
            ("POST", person + "/send_file", self.send_file),
            ("POST", person + "/checkout", self.checkout),
            ("GET", person + "/commands", self.commands),
            ("GET", person + "/transcript", self.transcript),
            ("POST", person + "/{act}", self.act),
            ("GET", "/play/api/file/{unique}", self.file),
            ("POST", "/play/api/faults", self.arm_fault),
            ("DELETE", "/play/api/faults", self.clear_faults),
            ("GET", "/play/api/journal", self.journal),
            ("POST", "/play/api/reset", self.reset),
            ("GET", "/play/api/panel", self.show_panel),
            ("POST", "/play/api/panel", self.use_panel),
        ]
        return [Route(path, self._told(answer), methods=[verb]) for verb, path, answer in table]

    def _told(
        self, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Turn what cannot be done into an error the page can show; keep what was done."""

        async def endpoint(request: Request) -> Response:
            try:
                return await answer(request)
            except Refusal as refusal:
                return _error(refusal.description, status=max(400, min(refusal.code, 499)))
            except (people.NotPossible, payments.NotPayable) as refusal:
                return _error(str(refusal), status=409)
            except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as problem:
                return _error(f"the request is not complete: {problem}", status=400)
            finally:
                self.account.store.commit()

        return endpoint

    def _person(self, request: Request) -> Json:
        person = self.account.person(request.path_params["id"])
        if person is None:
            raise people.NotPossible("there is no such person")
        return person

    async def state(self, _: Request) -> Response:
        """Answer with all that the page shows."""
        account = self.account
        crowd = account.people()
        bot = account.bot_user() | {
            "description": bot_text(account, "description"),
            "short_description": bot_text(account, "short_description"),
            "commands_ok": True,
        }
        return JSONResponse(
            {
                "bot": bot,
                "people": crowd,
                "chats": {str(person["id"]): self._chat(person["id"]) for person in crowd},
                "faults": account.faults.waiting(),
                "last_event": account.events.last,
                "has_panel": self.panel is not None,
            }
        )

    def _chat(self, person_id: int) -> Json:
        entries = self.account.store.latest("message", chat=person_id, limit=SHOWN_MESSAGES)
        return self.account.conversation(person_id) | {
            "messages": [as_shown(entry) for entry in entries],
            "typing": self.account.is_typing(person_id),
        }

    async def events(self, request: Request) -> Response:
        """Stream events from where the page left off."""
        last = request.headers.get("last-event-id") or request.query_params.get("after", "0")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        stream = self._stream(int(last))
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    async def _stream(self, after: int) -> AsyncIterator[str]:
        async for item in self.account.events.follow(after):
            if item is None:
                yield ": still here\n\n"
            else:
                yield f"id: {item[0]}\ndata: {json.dumps(item[1], ensure_ascii=False)}\n\n"

    async def add_person(self, request: Request) -> Response:
        """Let somebody in."""
        return JSONResponse(people.add_person(self.account, await request.json()))

    async def change_person(self, request: Request) -> Response:
        """Change a person's name, language, phone or note."""
        number = self._person(request)["id"]
        fields = await request.json()
        return JSONResponse(people.add_person(self.account, fields | {"id": number}))

    async def act(self, request: Request) -> Response:
        """Do one of the plain acts of a person."""
        act = ACTS.get(request.path_params["act"])
        if act is None:
            return _error("there is no such act", status=404)
        person, fields = self._person(request), await request.json()
        if not isinstance(fields, dict):
            raise TypeError("an object is expected")
        return JSONResponse(act(self.account, person, fields))

    async def send_file(self, request: Request) -> Response:
        """Send a file to the bot."""
        person = self._person(request)
        async with request.form(max_files=1) as form:
            file = form["file"]
            if not isinstance(file, UploadFile):
                raise TypeError("file")
            upload = Upload(file.filename or "", file.content_type or "", await file.read())
            kind, caption = str(form["kind"]), str(form.get("caption", ""))
        return JSONResponse(people.send_file(self.account, person, kind, upload, caption))

    async def checkout(self, request: Request) -> Response:
        """Open, use or close a payment sheet."""
        person, fields = self._person(request), await request.json()
        number, action = int(fields["message_id"]), fields["action"]
        sheet = str(fields.get("query_id") or "")
        if action not in {"open", "pay", "decline", "close"}:
            return _error("a sheet is opened, paid, declined or closed", status=400)
        if action == "close":
            payments.show(self.account, person["id"], number, sheet, state="closed")
            return JSONResponse({"query_id": sheet, "state": "closed"})
        sheet = sheet or payments.open_sheet(self.account, person, number)
        if action == "open":
            return JSONResponse({"query_id": sheet})
        declined = action == "decline"
        return JSONResponse(await payments.pay(self.account, person, sheet, declined=declined))

    async def commands(self, request: Request) -> Response:
        """List the commands in a person's menu."""
        return JSONResponse(commands_for(self.account, self._person(request)))

    async def transcript(self, request: Request) -> Response:
        """Answer with a chat as plain text."""
        return PlainTextResponse(people.transcript(self.account, self._person(request)))

    async def file(self, request: Request) -> Response:
        """Answer with the bytes of a file; only harmless kinds are shown in place."""
        file = media.file_by_unique_id(self.account, request.path_params["unique"])
        content = None if file is None else self.account.store.content(file["unique"])
        if file is None or content is None:
            return _error("the file is gone", status=404)
        response = Response(content, media_type=file["mime"])
        response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
        if "name" in request.query_params or not file["mime"].startswith(SHOWN_INLINE):
            name = request.query_params.get("name", file["name"])
            response.headers["Content-Disposition"] = media.attachment(name)
        return response

    async def arm_fault(self, request: Request) -> Response:
        """Let something go wrong."""
        fields = await request.json()
        if fields.get("kind") not in KINDS:
            return _error(f"faults are {', '.join(sorted(KINDS))}", status=400)
        if fields["kind"] == "redeliver":
            self.account.updates.deliver_again()
        else:
            names = ("seconds", "count", "method")
            self.account.faults.arm(fields["kind"], **{n: fields.get(n) for n in names})
        return JSONResponse(self.account.faults.waiting())

    async def clear_faults(self, _: Request) -> Response:
        """Let everything go well again."""
        self.account.faults.clear()
        return JSONResponse([])

    async def journal(self, request: Request) -> Response:
        """List the bot's calls."""
        after = int(request.query_params.get("after", "0"))
        return JSONResponse(self.account.journal.after(after))

    async def reset(self, _: Request) -> Response:
        """Forget all chats."""
        self.account.reset()
        return JSONResponse({})

    async def show_panel(self, _: Request) -> Response:
        """Describe the host's panel."""
        if self.panel is None:
            return _error("there is no panel", status=404)
        return JSONResponse(await self.panel.describe())

    async def use_panel(self, request: Request) -> Response:
        """Let the host do something, and show its panel anew."""
        if self.panel is None:
            return _error("there is no panel", status=404)
        fields = await request.json()
        answer = await self.panel.act(str(fields.pop("action")), fields)
        panel = await self.panel.describe()
        self.account.events.publish("panel", panel=panel)
        return JSONResponse({"message": "", **answer, "panel": panel})


def _error(words: str, *, status: int) -> JSONResponse:
    return JSONResponse({"error": words}, status_code=status)


def _say(account: Account, person: Json, fields: Json) -> object:
    reply_to = int(fields.get("reply_to") or 0)
    return {"messages": people.say(account, person, str(fields["text"]), reply_to=reply_to)}


def _press(account: Account, person: Json, fields: Json) -> object:
    number, row, col = (int(fields[name]) for name in ("message_id", "row", "col"))
    entry = account.entry(person["id"], number)
    rows = (entry or {"message": {}})["message"].get("reply_markup", {}).get("inline_keyboard", [])
    if row == col == 0 and rows and "pay" in rows[0][0]:
        return {"checkout": payments.open_sheet(account, person, number)}
    return people.press(account, person, number, row, col)


def _location(account: Account, person: Json, fields: Json) -> object:
    place = {name: float(fields[name]) for name in ("latitude", "longitude")}
    return people.send(account, person, {"location": place})


ACTS: Final[dict[str, Act]] = {
    "say": _say,
    "start": lambda a, person, f: people.start(a, person, str(f.get("payload") or "")),
    "press": _press,
    "press_data": lambda a, person, f: people.press_data(
        a, person, int(f["message_id"]), str(f["data"])
    ),
    "send_contact": lambda a, person, f: people.send_contact(
        a, person, f.get("phone_number"), f.get("user_id")
    ),
    "send_location": _location,
    "edit": lambda a, person, f: people.edit(a, person, int(f["message_id"]), str(f["text"])),
    "block": lambda a, person, f: people.block(a, person, blocked=bool(f["blocked"])),
}
