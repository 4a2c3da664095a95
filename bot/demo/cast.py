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
    last_name: str
    locale: str
    language: str
    note: str
    role: str | None = None
    home: tuple[int, int, int, int] | None = None
    water: str | None = None
    energy: str | None = None

    @property
    def name(self) -> str:
        """The whole name, in the order of the person's language."""
        parts = (self.first_name, self.last_name)
        return "".join(reversed(parts)) if self.locale.startswith("zh") else " ".join(parts)


LIN = Player(
    chat=500_101,
    first_name="月",
    last_name="林",
    locale="zh_CN",
    language="zh-hans",
    note="住户 · Customer · 柳林街 1-301",
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
    note="邻居 · Neighbour · 柳林街 1-302",
    home=(0, 0, 3, 2),
    water="water_leaky",
)
CHEN = Player(
    chat=500_103,
    first_name="怡君",
    last_name="陳",
    locale="zh_TW",
    language="zh-hant",
    note="住戶 · Customer · 松山路 2-202",
    home=(1, 1, 2, 2),
)
WANG = Player(
    chat=500_201,
    first_name="强",
    last_name="王",
    locale="zh_CN",
    language="zh-hans",
    note="维修师傅 · Technician",
    role="technician",
)
MAYA = Player(
    chat=500_301,
    first_name="Maya",
    last_name="Stone",
    locale="en",
    language="en",
    note="Manager · 经理",
    role="manager",
)
CAST = (LIN, ANNA, CHEN, WANG, MAYA)
OVERDUE = CHEN  # whose electricity bill was left unpaid
