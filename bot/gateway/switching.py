"""Commands to relays and valves over MQTT, and the answers that gateways' programs insist on."""

import zlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bot.clock import Clock
from bot.gateway.decode import find_answer
from bot.gateway.intake import Message
from bot.gateway.speakers import Speaker
from core.accounts.models import Service, Supply
from core.db import Database
from core.supply.commands import RETRY_AFTER, Command, accept_command, dispatch
from core.supply.models import OrderState

log = structlog.get_logger()

SWITCHES: Final[dict[Service, Literal["relay", "valve"]]] = {
    Service.ELECTRICITY: "relay",
    Service.WATER: "valve",
}
SECOND: Final = timedelta(seconds=1)


class Publisher(Protocol):
    """What can publish, and returns when the broker has it."""

    async def publish(
        self, topic: str, payload: str, *, qos: int, properties: Properties | None = None
    ) -> None:
        """Publish a message."""


async def send_commands(
    database: Database, clock: Clock, publisher: Publisher, speaker: Speaker
) -> None:
    """
    Publish what a gateway's switches have to do now; only their own reports confirm it.

    That it was sent is committed before, so whoever dies in between sends it again no sooner
    than the core says, under the same number. It is a state and no toggle: twice is once.
    """
    async with database.transaction() as session:
        commands = await dispatch(session, gateway_id=speaker.id, now=clock.now())
    for command in commands:
        try:
            topic, payload = write_command(speaker, command)
        except LookupError as trouble:
            log.warning("gateway.may_not_switch", order=command.number, trouble=str(trouble))
            continue
        lasting = find_lasting(command, now=clock.now())
        if lasting < SECOND:
            continue  # the broker took too long over those before it
        await publisher.publish(topic, payload, qos=1, properties=_expiring(lasting))
        async with database.transaction() as session:
            state = await accept_command(
                session, gateway_id=speaker.id, nonce=command.nonce, now=clock.now()
            )
        if state not in {OrderState.ACCEPTED, OrderState.CONFIRMED}:
            log.warning("gateway.too_late", order=command.number, state=state.value)


def write_command(speaker: Speaker, command: Command) -> tuple[str, str]:
    """
    Return the topic and payload that tell a meter's switch what to do.

    Raises:
        LookupError: this gateway's profile cannot switch this meter.
    """
    switch = SWITCHES[command.service]
    try:
        told = speaker.profile.commands[switch]
        wanted = told.cut if command.wanted is Supply.CUT else told.connect
        number = zlib.crc32(command.nonce.encode()) >> 1
        topic, payload = told.write(wanted, address=command.address, number=number)
    except (KeyError, ValueError) as trouble:
        raise LookupError(f"{speaker.profile.name}, {switch}: {trouble}") from trouble
    return speaker.prefix + topic, payload


def find_lasting(command: Command, *, now: datetime) -> timedelta:
    """
    Return for how long a broker may keep a command for a device that is away.

    Until it is sent again, for an older command must not come after a newer one; and a cut never
    beyond its end.
    """
    lasting = RETRY_AFTER[command.service]
    return lasting if command.valid_until is None else min(lasting, command.valid_until - now)


def _expiring(lasting: timedelta) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's
    properties.MessageExpiryInterval = lasting // SECOND
    return properties


async def answer(publisher: Publisher, questions: Iterable[tuple[Speaker, Message]]) -> None:
    """Answer what gateways' programs wait for before they send anything."""
    for speaker, question in questions:
        found = find_answer(speaker.profile, question.topic, question.payload)
        if found is not None:
            await publisher.publish(speaker.prefix + found[0], found[1], qos=1)
