"""The page's side: JSON under /play/api, and the stream of events."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from bot.playground import media, payments, people
from bot.playground.about import bot_text, commands_for
from bot.playground.account import Account, as_shown
from bot.playground.faults import KINDS
from bot.playground.params import Json, Params, read_params
from bot.playground.refusals import Refusal, require

SHOWN_MESSAGES: Final = 300
SHOWN_INLINE: Final = ("image/png", "image/jpeg", "image/gif", "image/webp", "audio/", "video/")

Answer = Callable[[Params], Awaitable[object]]


class Panel(Protocol):
    """What the host of the playground adds to the page: a clock and events of its own."""

    async def describe(self) -> dict[str, Any]:
        """Tell the state of the clock and the actions there are."""

    async def act(self, action: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Carry out an action; answer with a message for the person who asked."""


@dataclass(frozen=True)
class Page:
    """The endpoints of the page, for one bot; each answers with JSON or with a response."""

    account: Account
    panel: Panel | None

    def routes(self) -> list[Route]:
        """List the endpoints."""
        person = "people/{id:int}"
        table: tuple[tuple[str, str, Answer], ...] = (
            ("GET", "state", self.state),
            ("POST", "people", self.add_person),
            ("PATCH", person, self.change_person),
            ("POST", f"{person}/checkout", self.checkout),
            ("GET", f"{person}/commands", self.commands),
            ("GET", f"{person}/transcript", self.transcript),
            ("POST", f"{person}/{{act}}", self.act),
            ("GET", "file/{unique}", self.file),
            ("POST", "faults", self.arm_fault),
            ("DELETE", "faults", self.clear_faults),
            ("GET", "journal", self.journal),
            ("POST", "reset", self.reset),
            ("GET", "panel", self.show_panel),
            ("POST", "panel", self.use_panel),
        )
        return [
            Route("/play/api/events", self.events),
            *(
                Route(f"/play/api/{path}", _endpoint(answer), methods=[verb])
                for verb, path, answer in table
            ),
        ]

    def _person(self, params: Params) -> Json:
        person: Json | None = self.account.store.get("person", params.number("id"))
        if person is None:
            raise Refusal("there is no such person", code=409)
        return person

    async def state(self, _: Params) -> object:
        """Answer with all that the page shows."""
        account = self.account
        crowd = account.store.latest("person")
        texts = {name: bot_text(account, name) for name in ("description", "short_description")}
        return {
            "bot": account.bot_user() | texts | {"commands_ok": True},
            "people": crowd,
            "chats": {str(person["id"]): self._chat(person["id"]) for person in crowd},
            "faults": account.faults.waiting(),
            "last_event": account.events.last,
            "has_panel": self.panel is not None,
        }

    def _chat(self, person_id: int) -> Json:
        messages = self.account.store.latest(f"message/{person_id}", limit=SHOWN_MESSAGES)
        return self.account.conversation(person_id) | {
            "messages": [as_shown(message) for message in messages],
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

    async def add_person(self, params: Params) -> object:
        """Let somebody in."""
        return people.save_person(self.account, params)

    async def change_person(self, params: Params) -> object:
        """Change a person's name, language, phone or note."""
        self._person(params)
        return people.save_person(self.account, params)

    async def act(self, params: Params) -> object:
        """Do one of the plain acts of a person."""
        act = people.ACTS.get(params.text("act"))
        if act is None:
            raise Refusal("there is no such act", code=404)
        return act(self.account, self._person(params), params)

    async def checkout(self, params: Params) -> object:
        """Open, use or close a payment sheet."""
        person = self._person(params)
        invoice = payments.find_invoice(self.account, person, params.number("message_id"))
        sheet = params.text("query_id") or people.new_id()
        match params.text("action"):
            case "open":
                return {"query_id": sheet}
            case "close":
                return payments.show(self.account, invoice, sheet, state="closed")
            case "pay" | "decline" as action:
                declined = action == "decline"
                return await payments.pay(self.account, person, invoice, sheet, declined=declined)
        raise Refusal("a sheet is opened, paid, declined or closed")

    async def commands(self, params: Params) -> object:
        """List the commands in a person's menu."""
        return commands_for(self.account, self._person(params))

    async def transcript(self, params: Params) -> object:
        """Answer with a chat as plain text."""
        return PlainTextResponse(people.transcript(self.account, self._person(params)))

    async def file(self, params: Params) -> object:
        """Answer with the bytes of a file; only harmless kinds are shown in place."""
        found = media.find_file(self.account, params.text("unique"))
        if found is None:
            raise Refusal("the file is gone", code=404)
        file, content = found
        response = Response(content, media_type=file["mime"])
        response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
        name = params.text("name")
        if name or not file["mime"].startswith(SHOWN_INLINE):
            name = quote(name or file["name"])
            response.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{name}"
        return response

    async def arm_fault(self, params: Params) -> object:
        """Let something go wrong."""
        kind = params.text("kind")
        require(kind in KINDS, f"faults are {', '.join(sorted(KINDS))}")
        if kind == "redeliver":
            self.account.updates.deliver_again()
        else:
            self.account.faults.arm(kind, params.values)
        return self.account.faults.waiting()

    async def clear_faults(self, _: Params) -> object:
        """Let everything go well again."""
        self.account.faults.clear()
        return []

    async def journal(self, params: Params) -> object:
        """List the bot's calls."""
        return self.account.journal.after(params.number("after"))

    async def reset(self, _: Params) -> object:
        """Forget all chats."""
        self.account.reset()
        return {}

    async def show_panel(self, _: Params) -> object:
        """Describe the host's panel."""
        if self.panel is None:
            raise Refusal("there is no panel", code=404)
        return await self.panel.describe()

    async def use_panel(self, params: Params) -> object:
        """Let the host do something, and show its panel anew."""
        if self.panel is None:
            raise Refusal("there is no panel", code=404)
        fields = dict(params.values)
        answer = await self.panel.act(str(fields.pop("action")), fields)
        panel = await self.panel.describe()
        self.account.events.publish("panel", panel=panel)
        return {"message": "", **answer, "panel": panel}


def _endpoint(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """Turn what cannot be done into an error the page can show."""

    async def endpoint(request: Request) -> Response:
        try:
            params = await read_params(request)
            values = {**params.values, **request.path_params}
            result = await answer(Params(values, params.uploads))
        except Refusal as refusal:
            return JSONResponse({"error": str(refusal)}, status_code=refusal.code)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as problem:
            words = f"the request is not complete: {problem}"
            return JSONResponse({"error": words}, status_code=400)
        return result if isinstance(result, Response) else JSONResponse(result)

    return endpoint
