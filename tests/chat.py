"""A phone in a test: says and presses through the playground's HTTP, and reads what came back."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

Message = dict[str, Any]


class Silence(AssertionError):
    """What was waited for did not come in time."""


@dataclass
class Phone:
    """One person's phone. `seen` counts the messages that were read already."""

    http: aiohttp.ClientSession
    base: str
    person: int
    seen: int = 0
    pop_ups: list[str] = field(default_factory=list)

    async def post(self, path: str, **body: Any) -> Any:
        url = f"{self.base}/play/api/people/{self.person}/{path}"
        async with self.http.post(url, json=body) as answer:
            return await answer.json()

    async def messages(self) -> list[Message]:
        """List what the bot wrote to this person."""
        return (await self._look())[0]

    async def _look(self) -> tuple[list[Message], int]:
        async with self.http.get(f"{self.base}/play/api/state") as answer:
            state = await answer.json()
        chat = state["chats"].get(str(self.person), {"messages": []})
        return [m for m in chat["messages"] if not m.get("out")], state["last_event"]

    async def _news(self, *, after: int) -> None:
        """Wait until something happens on this phone."""
        async with self.http.get(f"{self.base}/play/api/events?after={after}") as stream:
            async for line in stream.content:
                if line.startswith(b"data:"):
                    event = json.loads(line[5:])
                    if event.get("person_id") == self.person or event["type"] == "reset":
                        return

    async def say(self, text: str) -> Message:
        """Say something and return the next message that comes."""
        await self.mark()
        await self.post("say", text=text)
        return await self.next()

    async def speak(self, language: str) -> None:
        """Choose a language by its own name."""
        offer = await self.say("/language")
        await self.press(offer, language)
        number, asked = offer["message_id"], text_of(offer)
        await self.until(
            lambda all_: any(
                each["message_id"] == number and text_of(each) != asked for each in all_
            )
        )

    async def show(self, picture: bytes, caption: str = "") -> Message:
        """Send a photo and return the next message that comes."""
        await self.mark()
        form = aiohttp.FormData({"kind": "photo", "caption": caption})
        form.add_field("file", picture, filename="photo.png", content_type="image/png")
        url = f"{self.base}/play/api/people/{self.person}/send_file"
        async with self.http.post(url, data=form) as answer:
            assert answer.status == 200, await answer.text()
        return await self.next()

    async def mark(self) -> None:
        self.seen = len(await self.messages())

    async def next(self, *, seconds: float = 15) -> Message:
        found = await self.until(lambda messages: len(messages) > self.seen, seconds=seconds)
        message = found[self.seen]
        self.seen += 1
        return message

    async def until(
        self, good: Callable[[list[Message]], bool], *, seconds: float = 15
    ) -> list[Message]:
        """Return the messages once they fulfil a condition."""
        messages: list[Message] = []
        try:
            async with asyncio.timeout(seconds):
                while True:
                    messages, last = await self._look()
                    if good(messages):
                        return messages
                    await self._news(after=last)
        except TimeoutError:
            raise Silence([text_of(message) for message in messages[-5:]]) from None

    async def expect(self, words: str, *, seconds: float = 15) -> Message:
        """Return the newest message that holds some words, waiting for it if needed."""
        messages = await self.until(
            lambda all_: any(words in text_of(message) for message in all_), seconds=seconds
        )
        return [message for message in messages if words in text_of(message)][-1]

    async def press(self, message: Message, label: str) -> Any:
        """Press the button whose label holds some words."""
        for row, buttons in enumerate(message["reply_markup"]["inline_keyboard"]):
            for column, button in enumerate(buttons):
                if label in button["text"]:
                    return await self.post(
                        "press", message_id=message["message_id"], row=row, col=column
                    )
        raise AssertionError(f"no button {label!r} in {buttons_of(message)}")

    async def refresh(self, message: Message) -> Message:
        """Return a message as it is now."""
        number = message["message_id"]
        return next(m for m in await self.messages() if m["message_id"] == number)

    async def changed(self, message: Message, words: str, *, seconds: float = 15) -> Message:
        """Wait until a message was edited so that it holds some words, and return it."""
        number = message["message_id"]
        await self.until(
            lambda all_: any(m["message_id"] == number and words in text_of(m) for m in all_),
            seconds=seconds,
        )
        return await self.refresh(message)


def text_of(message: Message) -> str:
    """Return the words of a message, whether they are its text or its caption."""
    return str(message.get("text") or message.get("caption") or "")


def buttons_of(message: Message) -> list[str]:
    """Return the labels of a message's buttons."""
    keyboard = message.get("reply_markup", {}).get("inline_keyboard", [])
    return [button["text"] for row in keyboard for button in row]
