"""Which gateway speaks in a topic: each has a profile, and where its topics begin."""

from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.gateway.profile import Profile
from core.accounts.models import ApiKey


class Speaker(NamedTuple):
    """A gateway that speaks MQTT; its topics are those of its profile with `prefix` before them."""

    id: int
    name: str
    profile: Profile
    prefix: str

    @property
    def subscriptions(self) -> set[str]:
        """The topic filters for the broker."""
        return {self.prefix + each for each in self.profile.subscriptions}


async def find_speakers(session: AsyncSession, profiles: Mapping[str, Profile]) -> list[Speaker]:
    """Return the working gateways that have one of these profiles, the longest prefix first."""
    keys = await session.scalars(
        select(ApiKey).where(
            ApiKey.scope == "gateway",
            ApiKey.profile.in_(profiles),
            ApiKey.revoked_at.is_(None),
        )
    )
    found = [
        Speaker(key.id, key.name, profiles[key.profile], f"{key.below}/" if key.below else "")
        for key in keys
        if key.profile is not None
    ]
    return sorted(found, key=lambda each: len(each.prefix), reverse=True)


def find_speaker(speakers: Iterable[Speaker], topic: str) -> tuple[Speaker, str] | None:
    """Return who speaks in a topic, and the topic as its profile has it."""
    for speaker in speakers:
        rest = topic.removeprefix(speaker.prefix)
        if topic.startswith(speaker.prefix) and speaker.profile.knows(rest):
            return speaker, rest
    return None


def widest(subscriptions: Iterable[str]) -> set[str]:
    """Leave out what another one covers: a message comes once for each one that it matches."""
    every = set(subscriptions)
    return {each for each in every if not any(_covers(other, each) for other in every - {each})}


def _covers(wide: str, narrow: str) -> bool:
    levels = list(zip_longest(wide.split("/"), narrow.split("/")))
    return all(a == b or (a == "+" and b is not None) for a, b in levels)
