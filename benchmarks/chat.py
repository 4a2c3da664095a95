"""How long a person waits for an answer in chat, alone and while a broadcast goes out."""

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from bot.delivery import LIMITS
from bot.postgres import embedded
from core.accounts.models import Contact, Person
from core.db import Database
from core.notices import service as notices
from core.notices.models import Lane
from tests.databases import Reusable
from tests.stage import Stage, opened

PEOPLE = 20
WORDS = ("/help", "/start", "/outages", "/language", "/cancel")


async def answers(stage: Stage) -> AsyncIterator[tuple[int, float]]:
    """Yield who got a message, and when, as the phones see it."""
    async with stage.http.get(f"{stage.base}/play/api/state") as answer:
        after = (await answer.json())["last_event"]
    timeout = aiohttp.ClientTimeout(total=None)
    url = f"{stage.base}/play/api/events?after={after}"
    async with stage.http.get(url, timeout=timeout) as stream:
        yield 0, 0.0
        async for line in stream.content:
            if line.startswith(b"data:"):
                event = json.loads(line[5:])
                if event["type"] == "message" and not event["message"]["out"]:
                    yield event["person_id"], time.perf_counter()


async def measure(stage: Stage, *, turns: int, first: int = 80_000) -> list[float]:
    """Let people speak one after another; return how long each waited. Units: milliseconds."""
    heard = answers(stage)
    await anext(heard)
    waits = []
    for turn in range(turns):
        person = first + turn % PEOPLE
        begun = time.perf_counter()
        await stage.phone(person).post("say", text=WORDS[turn % len(WORDS)])
        async for who, at in heard:
            if who == person:
                waits.append((at - begun) * 1000)
                break
        await asyncio.sleep(0.05)
    await heard.aclose()  # type: ignore[attr-defined]  # an async generator has it
    return waits


async def let_in(stage: Stage, database: Database, first: int, count: int) -> list[int]:
    """Let people into the playground and our database; return their ids with us."""
    for number in range(first, first + count):
        body = {"id": number, "first_name": f"P{number}", "language_code": "en"}
        async with stage.http.post(f"{stage.base}/play/api/people", json=body) as answer:
            await answer.read()
        await stage.phone(number).post("start")
    async with database.transaction() as session:
        people = [Person(name="P", locale="en", created_at=stage.clock.now()) for _ in range(count)]
        session.add_all(people)
        await session.flush()
        session.add_all(
            Contact(person_id=person.id, channel="telegram", address=str(first + number))
            for number, person in enumerate(people)
        )
        return [person.id for person in people]


def told(name: str, waits: list[float]) -> str:
    """Return a line with the median and the slow end."""
    cuts = statistics.quantiles(waits, n=100)
    return f"{name:34} p50 {cuts[49]:6.0f} ms   p95 {cuts[94]:6.0f} ms   ({len(waits)} turns)"


async def run(url: str, *, turns: int, recipients: int) -> None:
    """Measure alone, then while a broadcast goes out."""
    reusable = await asyncio.to_thread(Reusable, url)
    database = Database(reusable.url)
    try:
        async with opened(reusable.url, reusable.world, limits=LIMITS) as stage:
            await let_in(stage, database, 80_000, PEOPLE)
            crowd = await let_in(stage, database, 90_000, recipients)
            async with stage.serving():
                await measure(stage, turns=40)
                await asyncio.sleep(recipients * 0.05)  # the answers to so many starts
                used = time.process_time()
                print(told("alone", await measure(stage, turns=turns)))
                used = (time.process_time() - used) * 1000 / turns
                print(f"{'processor, bot and playground':34} {used:10.0f} ms a turn")
                async with database.transaction() as session:
                    await notices.enqueue(
                        session,
                        person_ids=crowd,
                        kind="reply",
                        params={"text": "Water returns at 18:00."},
                        dedupe_key="benchmark",
                        now=stage.clock.now(),
                        lane=Lane.BROADCAST,
                    )
                name = f"during a broadcast to {recipients}"
                print(told(name, await measure(stage, turns=min(turns, recipients // 4))))
    finally:
        await database.close()
        await asyncio.to_thread(reusable.drop)


def main() -> None:
    """Measure on the database given, or on an embedded one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--recipients", type=int, default=400)
    options = parser.parse_args()
    given = os.environ.get("SHUIDIAN_TEST_DATABASE_URL")
    if given:
        asyncio.run(run(given, turns=options.turns, recipients=options.recipients))
        return
    with embedded(Path(".state") / "benchmarks") as server:
        asyncio.run(run(server.url, turns=options.turns, recipients=options.recipients))


if __name__ == "__main__":
    main()
