"""The photo of the register on which a bill closes is on the bill, if somebody sent one."""

from datetime import date

import pytest

from core.accounts.models import Service
from core.billing.queries import PHOTO_BYTES_MAX, get_bill
from core.monitoring.models import ReadingPhoto
from core.periods import start_of_day
from tests.billing.books import OCTOBER, ZONE, load_shipped, run_bills, show

PICTURE = b"\xff\xd8\xff the dial"
LAST = date(2026, 11, 1)


@pytest.mark.parametrize(
    ("day", "content", "found"),
    [
        (LAST, PICTURE, PICTURE),
        (date(2026, 10, 1), PICTURE, None),
        (LAST, b"", None),
        (LAST, None, None),
        (LAST, PICTURE + bytes(PHOTO_BYTES_MAX), None),
    ],
)
async def test_photo_is_that_of_the_closing_reading(database, world, day, content, found) -> None:
    meter = world.home.meters[Service.ELECTRICITY]
    await load_shipped(database)
    await show(database, meter, {date(2026, 10, 1): "100", LAST: "150"})
    async with database.transaction() as session:
        session.add(
            ReadingPhoto(
                meter_id=meter,
                register="total",
                taken_at=start_of_day(day, zone=ZONE),
                channel_ref="photo",
                media_type="image/jpeg" if content else "",
                content=content,
            )
        )
    await run_bills(database, Service.ELECTRICITY, OCTOBER)

    async with database.transaction() as session:
        view = await get_bill(session, number="E1001", person_id=world.home.holder)

    assert view.photo == found
