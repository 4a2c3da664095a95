"""An incident in the back office: its area in the list, all of its homes on its page."""

from tests.core.test_incidents import burst, end_alarms
from tests.street import build_street
from tests.test_office import Office, office
from tests.world import NOON

__all__ = ["office"]


async def test_shows_an_area_with_its_homes_and_what_became_of_each(office: Office) -> None:
    street = await build_street(office.database, office.world)
    await burst(office.database, street.homes[:1])
    await burst(office.database, street.homes[1:2])
    await burst(office.database, street.homes[2:])
    await end_alarms(office.database, street.homes[3:4], at=NOON)
    await office.enter(await office.link())

    _, listed = await office.get("/office/repairs")
    _, page = await office.get("/office/repairs/R1001")
    _, merged = await office.get("/office/repairs/R1002")

    assert "Maple Street (12 homes)" in listed
    assert "R1002" not in listed
    for home in street.homes:
        assert f"Maple Street {home.flat}" in page
        assert f"W-5{home.flat}" in page
    assert page.count("abnormal since") == 11
    assert page.count("normal since") == 12
    assert '<a href="/office/repairs/R1002">R1002</a>' in page
    assert "Back to normal: 1 of 12 homes" in page
    assert "Joined: R1002" in page
    assert "goes on as <b>R1001</b>" in merged
