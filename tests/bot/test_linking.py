"""Codes link a chat once, expire, cannot be guessed, and tell nothing to whoever tries."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from core.accounts import linking, service
from core.accounts.linking import ALPHABET, CODE_LENGTH, FAILURES_MAX, FAILURES_WITHIN, LIFE
from core.accounts.models import AccountRight, Invitation, Right, Role
from core.accounts.service import TELEGRAM, Speaker
from core.db import Database
from tests.world import NOON, World


async def stranger(database: Database, address: str = "4001") -> Speaker:
    async with database.transaction() as session:
        return await service.meet(
            session, channel=TELEGRAM, address=address, name="Stranger", locale="en", now=NOON
        )


async def look_up(
    database: Database, code: str, speaker: Speaker, now: datetime = NOON
) -> linking.Invited | None:
    async with database.transaction() as session:
        return await linking.find_invitation(
            session, code=code, contact_id=speaker.contact_id, now=now
        )


async def accept(database: Database, invited: linking.Invited, speaker: Speaker) -> Speaker:
    async with database.transaction() as session:
        await linking.accept(
            session, invitation_id=invited.invitation_id, contact_id=speaker.contact_id, now=NOON
        )
    async with database.transaction() as session:
        return await service.get_speaker(session, contact_id=speaker.contact_id)


async def invite(database: Database, **offer: object) -> str:
    async with database.transaction() as session:
        return await linking.invite(session, now=NOON, **offer)  # type: ignore[arg-type]


class TestCode:
    async def test_links_once(self, database: Database, world: World) -> None:
        code = await invite(database, account_id=world.home.account, right=Right.TENANT)
        first, second = await stranger(database), await stranger(database, "4002")
        offered = await look_up(database, code, first)
        also = await look_up(database, code, second)
        assert offered is not None
        assert also is not None

        linked = await accept(database, offered, first)
        assert linked.is_customer
        with pytest.raises(linking.CodeNotValid):
            await accept(database, also, second)
        assert await look_up(database, code, second) is None
        async with database.transaction() as session:
            rights = await session.execute(
                select(AccountRight.right).where(AccountRight.person_id == linked.person_id)
            )
            assert [right for (right,) in rights] == [Right.TENANT]
            places = await service.list_places(session, person_id=linked.person_id)
        assert {place.account_id for place in places} == {world.home.account}

    async def test_runs_out(self, database: Database, world: World) -> None:
        code = await invite(database, account_id=world.home.account)
        speaker = await stranger(database)

        assert await look_up(database, code, speaker, NOON + LIFE) is None
        assert await look_up(database, code, speaker, NOON + LIFE - timedelta(1)) is not None

    async def test_is_kept_as_a_hash_only(self, database: Database, world: World) -> None:
        code = await invite(database, account_id=world.home.account)

        assert len(code) == CODE_LENGTH
        assert set(code) <= set(ALPHABET)
        async with database.transaction() as session:
            (kept,) = await session.scalars(select(Invitation))
            assert code not in repr(vars(kept))

    @pytest.mark.parametrize("change", [str.lower, " {} ".format, lambda c: f"{c[:4]}-{c[4:]}"])
    async def test_is_taken_as_people_type_it(
        self, database: Database, world: World, change: object
    ) -> None:
        code = await invite(database, account_id=world.home.account)

        assert await look_up(database, change(code), await stranger(database))  # type: ignore[operator]

    async def test_shows_a_masked_address_only(self, database: Database, world: World) -> None:
        code = await invite(database, account_id=world.home.account)
        offered = await look_up(database, code, await stranger(database))

        assert offered is not None
        assert offered.account_number == "10001"
        assert offered.masked_address == "Lin••• Str••• 1-1••"

    async def test_that_is_wrong_used_or_old_answers_the_same(
        self, database: Database, world: World
    ) -> None:
        speaker = await stranger(database)
        used = await invite(database, account_id=world.home.account)
        offered = await look_up(database, used, speaker)
        assert offered is not None
        await accept(database, offered, speaker)
        old = await invite(database, role=Role.MANAGER)

        answers = [
            await look_up(database, "2345678923456", speaker),
            await look_up(database, used, speaker),
            await look_up(database, old, speaker, NOON + LIFE),
            await look_up(database, "", speaker),
        ]
        assert answers == [None] * 4

    async def test_cannot_be_tried_without_end(self, database: Database, world: World) -> None:
        good = await invite(database, account_id=world.home.account)
        speaker, other = await stranger(database), await stranger(database, "4002")
        for _ in range(FAILURES_MAX):
            assert await look_up(database, "WRONG", speaker) is None

        with pytest.raises(linking.TooManyTries):
            await look_up(database, good, speaker)
        assert await look_up(database, good, other) is not None
        later = NOON + FAILURES_WITHIN + timedelta(seconds=1)
        assert await look_up(database, good, speaker, later) is not None

    async def test_gives_a_role(self, database: Database, world: World) -> None:
        code = await invite(database, role=Role.TECHNICIAN)
        speaker = await stranger(database)
        offered = await look_up(database, code, speaker)
        assert offered is not None
        assert (offered.role, offered.account_number) == (Role.TECHNICIAN, None)

        assert (await accept(database, offered, speaker)).roles == {Role.TECHNICIAN}
        assert world.technician != speaker.person_id

    async def test_makes_a_second_chat_the_same_persons(
        self, database: Database, world: World
    ) -> None:
        code = await invite(database, account_id=world.home.account, person_id=world.home.holder)
        speaker = await stranger(database)
        offered = await look_up(database, code, speaker)
        assert offered is not None
        linked = await accept(database, offered, speaker)

        assert linked.person_id == world.home.holder
        assert linked.name == "Li Hua"
        async with database.transaction() as session:
            first = await service.get_speaker(session, contact_id=world.home.holder_contact)
        assert first.person_id == linked.person_id
