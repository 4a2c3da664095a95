"""The people of the demo who have a phone on the page."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """
    Somebody with a phone: a customer with the place of their home, or a member of staff.

    `home` is street, building, floor and flat; `water` and `energy` name the recorded series
    that drive their meters.
    """

    chat: int
    first_name: str
    locale: str
    language: str
    note: str
    last_name: str = ""
    role: str | None = None
    home: tuple[int, int, int, int] | None = None
    water: str | None = None
    energy: str | None = None

    @property
    def name(self) -> str:
        """The whole name."""
        return f"{self.first_name} {self.last_name}".strip()


LIN = Player(
    chat=500_101,
    first_name="林月",
    locale="zh_CN",
    language="zh-hans",
    note="住户 Customer",
    home=(0, 0, 3, 1),
    water="water_family",
    energy="energy",
)
ANNA = Player(
    chat=500_102,
    first_name="Анна",
    last_name="Петрова",
    locale="ru",
    language="ru",
    note="邻居 Neighbour",
    home=(0, 0, 3, 2),
    water="water_leaky",
)
CHEN = Player(
    chat=500_103,
    first_name="陳怡君",
    locale="zh_TW",
    language="zh-hant",
    note="住戶 Customer",
    home=(1, 1, 2, 2),
)
WANG = Player(
    chat=500_201,
    first_name="王强",
    locale="zh_CN",
    language="zh-hans",
    note="师傅 Technician",
    role="technician",
)
MAYA = Player(
    chat=500_301,
    first_name="Maya",
    last_name="Stone",
    locale="en",
    language="en",
    note="经理 Manager",
    role="manager",
)
CAST = (LIN, ANNA, WANG, MAYA, CHEN)
OVERDUE = CHEN  # whose electricity bill was left unpaid
PREPAID = ((ANNA, "electricity"), (CHEN, "water"))  # who pays ahead for what
