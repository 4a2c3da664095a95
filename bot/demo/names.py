"""Names of the demo's streets and people, in the languages that are spoken there."""

OPERATOR = "柳林水电 (Liulin Water & Power)"
HOTLINE = "0551-5550100"
DISTRICT = "柳林片区 (Liulin District)"
STREETS = (("柳林街", "Liulin St"), ("松山路", "Songshan Rd"))

_CHINESE = ("赵", "钱", "孙", "李", "周", "吴", "郑", "冯", "褚", "卫", "蒋", "沈", "韩", "杨")
_GIVEN = ("建国", "秀英", "志强", "桂兰", "海燕", "文博", "雨桐", "子涵", "玉梅", "国栋", "晓东")
_TAIWANESE = ("林志明", "黃淑芬", "張家豪", "李雅婷", "吳宗翰", "蔡美玲", "許俊傑", "鄭惠如")
_RUSSIAN = (
    "Иван Соколов",
    "Мария Кузнецова",
    "Дмитрий Волков",
    "Елена Морозова",
    "Сергей Лебедев",
    "Ольга Новикова",
)
_ENGLISH = ("James Carter", "Emily Wood", "Oliver Hughes", "Grace Bennett", "Daniel Price")
SECOND_TECHNICIAN = "赵敏"


def name_street(street: int) -> str:
    """Return a street's name as everybody can read it."""
    chinese, pinyin = STREETS[street]
    return f"{chinese} ({pinyin})"


def name_flat(street: int, building: int, flat: int) -> str:
    """Return the address of a flat."""
    chinese, pinyin = STREETS[street]
    return f"{chinese}{building + 1}号楼{flat}室 ({pinyin} {building + 1}-{flat})"


def name_person(number: int) -> tuple[str, str]:
    """Return a name that fits its number, and the language its bearer speaks."""
    others = {3: (_TAIWANESE, "zh_TW"), 5: (_RUSSIAN, "ru"), 7: (_ENGLISH, "en")}
    if number % 8 in others:
        names, locale = others[number % 8]
        return names[number // 8 % len(names)], locale
    name = _CHINESE[number % len(_CHINESE)] + _GIVEN[number * 5 % len(_GIVEN)]
    return name, "zh_CN"
