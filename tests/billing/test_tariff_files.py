"""A tariff file is read whole or refused with a sentence that helps its writer."""

import tomllib
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from core.billing.formulas import Formula, parse_number
from core.billing.tariff_checks import LANGUAGES
from core.billing.tariff_files import TariffRefused, parse_tariff, read_tariff, shipped_tariffs
from core.billing.tariff_model import Charge, ChargePer, Mark, Tax, Window
from core.billing.tiers import HouseholdRule, LimitsPer

WORDS = '{ zh_CN = "甲", zh_TW = "乙", en = "B", ru = "Д" }'
GOOD = f"""
format = 1
code = "somewhere-electricity"
service = "electricity"
place = {WORDS}

[labels]
energy = {WORDS}
grid = {WORDS}
meter = {WORDS}
minimum = {WORDS}
vat = {WORDS}

[[versions]]
valid_from = 2025-01-01
valid_to = 2026-01-01
source = "Notice 7 of 2024"
mark = "checked"
currency = "CNY"
unit = "kWh"
quantity_digits = 2
window = "month"
rounding = {{ mode = "half_up", digits = 2 }}
minimum = {{ amount = "1", per = "bill" }}

[versions.seasons]
summer = [5, 6, 7, 8, 9, 10]
winter = [11, 12, 1, 2, 3, 4]

[versions.tiers.use]
per = "month"
limits = {{ summer = ["260", "600"], winter = ["200", "400"] }}
household = [
  {{ from_person = 5, limits = [1], flat = "100" }},
  {{ from_person = 9, per_head = ["90", "120"] }},
]

[versions.components.energy]
tiers = "use"
prices = [
  {{ peak = "0.6", valley = "0.3" }},
  {{ peak = "0.7", valley = "0.4" }},
  {{ peak = "1", valley = "0.5" }},
]

[versions.components.grid]
factor = "0.9"
prices = {{ summer = ["0.2"], winter = ["0.1"] }}

[versions.fixed.meter]
amount = "3"
per = "month"

[versions.taxes.vat]
rate = "0.05"
on = ["energy", "meter"]

[[versions.examples]]
source = "computed"
starts = 2025-07-01
ends = 2025-08-01
use = {{ peak = "500", valley = "200" }}
total = "578.85"

[[versions.examples]]
source = "computed"
starts = 2025-01-01
ends = 2025-02-01
use = {{ peak = "500", valley = "200" }}
used = {{ peak = "10" }}
people = 2
months = 1
total = "576.75"
"""
FIRST_BILL = "example bill 1 (500 peak + 200 valley kWh, 2025-07-01 to 2025-08-01)"


def refusal_of(old: str, new: str) -> str:
    """Break the good file in one place and return what the loader says."""
    assert GOOD.count(old) >= 1, f"nothing to break: {old}"
    with pytest.raises(TariffRefused) as refused:
        parse_tariff(GOOD.replace(old, new, 1).encode(), file="bad.toml")
    return str(refused.value)


class TestParseTariff:
    def test_reads_every_part_of_the_format(self):
        tariff = parse_tariff(GOOD.encode(), file="good.toml")

        (version,) = tariff.versions
        assert (tariff.code, tariff.service) == ("somewhere-electricity", "electricity")
        assert tariff.place["ru"] == "Д"
        assert tariff.labels["energy"]["zh_CN"] == "甲"
        assert (version.mark, version.window) == (Mark.CHECKED, Window.MONTH)
        assert version.seasons["winter"] == {11, 12, 1, 2, 3, 4}
        assert version.tiers["use"].per is LimitsPer.MONTH
        assert version.tiers["use"].household == (
            HouseholdRule(from_person=5, limits=(1,), flat=Decimal(100)),
            HouseholdRule(from_person=9, per_head=(Decimal(90), Decimal(120))),
        )
        assert version.components["grid"].factor == Decimal("0.9")
        assert version.fixed == {"meter": Charge(amount=Decimal(3), per=ChargePer.MONTH)}
        assert version.minimum == Charge(amount=Decimal(1), per=ChargePer.BILL)
        assert version.taxes == {"vat": Tax(rate=Decimal("0.05"), on=("energy", "meter"))}
        assert version.valid_to == date(2026, 1, 1)

    @pytest.mark.parametrize(
        "number", ["0.7", "7", "true", '"0,7"', '"\uff17"', '"1e3"', '"+1"', '"NaN"', '".7"']
    )
    def test_refuses_a_price_that_is_not_a_plain_number_in_quotes(self, number):
        sentence = refusal_of('peak = "0.7"', f"peak = {number}")

        assert sentence.startswith("bad.toml: versions[1].components.energy.prices[2].peak must be")
        assert "in quotes" in sentence

    @pytest.mark.parametrize(
        ("old", "new", "sentence"),
        [
            ("format = 1", "format = 2", "bad.toml: format must be 1"),
            ("format = 1", "", "bad.toml: format must be 1"),
            ("format = 1", "format = ", "bad.toml: text Invalid value"),
            ('code = "some', 'codes = "some', "bad.toml: codes is not known"),
            ("valid_to", "valid_until", "bad.toml: versions[1].valid_until is not known"),
            ('currency = "CNY"', "", "bad.toml: versions[1].currency is missing"),
            ('mark = "checked"', 'mark = "ok"', "bad.toml: versions[1].mark must be one of"),
            ("2025-01-01", '"2025-01-01"', "versions[1].valid_from must be a date"),
            ("2025-01-01", "2025-01-01T00:00:00", "versions[1].valid_from must be a date"),
            ("digits = 2", 'digits = "2"', "quantity_digits must be a whole number"),
            ("digits = 2", "digits = true", "quantity_digits must be a whole number"),
            ("Notice 7 of 2024", " ", "versions[1].source must be one line of text"),
            ("Notice 7 of 2024", "a\\nb", "versions[1].source must be one line of text"),
            ("[versions.fixed.meter]", "[versions.fixed.'Me ter']", "fixed.Me ter must be a code"),
            ('limits = { summer = ["260", "600"]', 'limits = { summer = "260"', "must be a list"),
            ("minimum = { amount", "minimum = [{ amount", "bad.toml: text"),
            ('{ amount = "1", per = "bill" }', '"1"', "versions[1].minimum must be a table"),
        ],
    )
    def test_refuses_a_wrong_form(self, old, new, sentence):
        assert sentence in refusal_of(old, new)

    @pytest.mark.parametrize(
        ("old", "new", "sentence"),
        [
            ('"260", "600"', '"600", "260"', "tiers.use.limits must rise from above 0: 600, 260"),
            ('"260", "600"', '"260", "260"', "tiers.use.limits must rise"),
            ('"260", "600"', '"0", "600"', "tiers.use.limits must rise"),
            ('winter = ["200"', 'autumn = ["200"', "limits must have the seasons summer, winter"),
            ("12, 1, 2", "12, 2", "seasons must name each month from 1 to 12 once"),
            ("12, 1, 2", "12, 1, 5, 2", "seasons must name each month from 1 to 12 once"),
            ('"90", "120"', '"10", "120"', "makes a household of 9 pay more than a smaller one"),
            ('"90", "120"', '"90"', "household[2].per_head must be 2, not 1"),
            ("limits = [1]", "limits = [3]", "household[1].limits must be numbers of limits"),
            ("limits = [1],", "", "household[1] must have from_person"),
            ("from_person = 5", "from_person = 0", "household[1] must have from_person"),
            ('tiers = "use"', 'tiers = "uses"', "components.energy.tiers 'uses' is not among"),
            ('{ peak = "1", valley = "0.5" },', "", "prices must be 3, one for each tier, not 2"),
            ('valley = "0.4"', 'flat = "0.4"', "prices must have the same registers in each tier"),
            ('{ summer = ["0.2"]', '{ autumn = ["0.2"]', "prices must have the seasons"),
            ('factor = "0.9"', 'factor = "0"', "components.grid.factor must be above 0"),
            ('currency = "CNY"', 'currency = "XXX"', "currency 'XXX' is not known"),
            ("quantity_digits = 2", "quantity_digits = 7", "quantity_digits must be from 0 to 6"),
            (
                '"half_up", digits = 2',
                '"half_up", digits = 3',
                "rounding.digits must be from 0 to 2",
            ),
            ('mark = "checked"', 'mark = "check"', "to_check must name fields"),
            ('mark = "checked"', 'mark = "checked"\nto_check = ["unit"]', "to_check must name"),
            ("grid = {", "network = {", "labels.grid is missing"),
            ("minimum = { zh_CN", "least = { zh_CN", "labels.minimum is missing"),
            ("taxes.vat", "taxes.meter", "meter is the code of two things"),
            ('"energy", "meter"]', '"energy", "vat"]', "taxes.vat.on must name components"),
        ],
    )
    def test_refuses_an_impossible_tariff_with_the_bill_it_would_make(self, old, new, sentence):
        refusal = refusal_of(old, new)

        assert refusal.startswith("bad.toml: versions[1].")
        assert sentence in refusal
        assert FIRST_BILL in refusal

    @pytest.mark.parametrize(
        ("old", "new"), [('"260", "600"', '"600", "260"'), ('"90", "120"', '"10", "120"')]
    )
    def test_shows_the_amount_that_an_impossible_tariff_would_charge(self, old, new):
        assert f"{FIRST_BILL} would be " in refusal_of(old, new)

    def test_shows_no_bill_where_only_a_day_is_wrong(self):
        assert refusal_of("valid_to = 2026", "valid_to = 2025") == (
            "bad.toml: versions[1].valid_to must be after valid_from"
        )

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            ('currency = "CNY"', 'currency = "XXX"', "no bills are made in the currency XXX"),
            ("ends = 2025-", "ends = 2024-", "must end after that, not 2024-"),
        ],
    )
    def test_says_in_words_why_no_bill_can_be_made(self, old, new, words):
        refusal = refusal_of(old, new)

        assert words in refusal
        assert "money." not in refusal and "period." not in refusal and "datetime" not in refusal

    def test_refuses_a_wrong_example_with_the_bill_that_the_tariff_makes(self):
        assert refusal_of('total = "578.85"', 'total = "578.86"') == (
            "bad.toml: versions[1].examples[1].total is 578.86; "
            f"{FIRST_BILL} would be 578.85 CNY, the file says 578.86"
        )

    @pytest.mark.parametrize(
        "price", ["0.6", "0.3", "0.7", "0.4", "0.5", "0.9", "0.2", "0.1", "3", "0.05", "260", "200"]
    )
    def test_refuses_a_mistyped_number_whichever_it_is(self, price):
        sentence = refusal_of(f'"{price}"', f'"{Decimal(price) + Decimal("0.1")}"')

        assert ".total is" in sentence
        assert " would be " in sentence

    @pytest.mark.parametrize(
        "formula",
        [
            "use.real",
            "use[0]",
            "use()",
            "open('x')",
            "min(use)",
            "floor(use, 2)",
            "max(*use, 1)",
            "min(use, 2, key=1)",
            "lambda: 1",
            "[1, 2]",
            "'a' + 'b'",
            "1e3 + use",
            "use ** 9",
            "use // 2",
            "use % 2",
            "use if 1",
            "__import__('os')",
            "Use + 1",
            "(use := 2)",
            "use and\\n2",
            "use in (1, 2)",
            "true",
            "- - " * 80 + "1",
            "(" * 250 + "1" + ")" * 250,
        ],
    )
    def test_refuses_a_formula_that_is_more_than_arithmetic(self, formula):
        sentence = refusal_of('peak = "0.7"', f'peak = "{formula}"')

        assert "prices[2].peak" in sentence

    @pytest.mark.parametrize(
        ("old", "new", "sentence"),
        [
            ('amount = "3"', 'amount = "kw * 3"', "fixed.meter.amount uses 'kw', which is no name"),
            ('amount = "3"', 'amount = "market"', "fixed.meter.amount uses 'market'"),
            ('rate = "0.05"', 'rate = "hour"', "taxes.vat.rate uses 'hour'"),
            ('"260", "600"', '"260 * a", "600"', "tiers.use.limits.summer[1] uses 'a'"),
            ('"260", "600"', '"260 - 90 * people", "600"', "makes a household of 2 pay more"),
            ('summer = ["0.2"]', 'summer = ["market"]', "prices.summer[1] uses 'market'"),
            ('"month"\nrounding', '"month"\ncliff = "uses"\nrounding', "cliff 'uses' is not among"),
            ('"month"\nrounding', '"year"\ncliff = "use"\nrounding', "cliff needs a window of a"),
            (
                '"month"\nrounding',
                '"month"\nattributes = { use = "1" }\nrounding',
                "use is the name of something else in every formula",
            ),
            (
                '"month"\nrounding',
                '"month"\nvalues = { a = { by = "b", table = { c = "1" } } }\nrounding',
                "values.a.by must name an attribute",
            ),
            (
                '"month"\nrounding',
                '"month"\nvalues = { a = "b + 1", b = "1" }\nrounding',
                "values.a uses 'b', which is no name that is known there",
            ),
        ],
    )
    def test_refuses_names_that_mean_nothing_there_with_the_bill(self, old, new, sentence):
        refusal = refusal_of(old, new)

        assert sentence in refusal
        assert FIRST_BILL in refusal

    def test_refuses_a_limit_that_fails_for_some_household(self):
        refusal = refusal_of('"260", "600"', '"260 / (people - 4)", "600"')

        assert "cannot be worked out: the formula 260 / (people - 4) has" in refusal

    def test_shows_what_a_formula_that_fails_would_do(self):
        refusal = refusal_of('amount = "3"', 'amount = "1 / (use - use)"')

        assert "examples[1] cannot be priced: the formula 1 / (use - use) has" in refusal

    def test_refuses_an_example_that_cannot_be_priced(self):
        refusal = refusal_of('use = { peak = "500"', 'use = { sharp = "500"')

        assert "examples[1] cannot be priced: energy has no price for the register sharp" in refusal
        assert "example bill 1 (500 sharp + 200 valley kWh" in refusal

    def test_refuses_an_example_whose_period_is_empty(self):
        assert "examples[1] cannot be priced: the period that starts 2025-07-01" in refusal_of(
            "ends = 2025-08-01", "ends = 2025-07-01"
        )

    def test_refuses_a_price_that_no_example_uses(self):
        refusal = refusal_of(GOOD[GOOD.rindex("[[versions.examples]]") :], "")

        assert "components.energy.prices winter tier 1 peak is used by no example bill" in refusal
        assert FIRST_BILL in refusal

    def test_refuses_a_version_without_examples(self):
        refusal = refusal_of(GOOD[GOOD.index("[[versions.examples]]") :], "")

        assert refusal == "bad.toml: versions[1].examples must be at least one; no bill can be made"

    def test_refuses_a_tariff_without_versions(self):
        none = f"versions = []\n{GOOD[: GOOD.index('[[versions]]')]}"

        with pytest.raises(TariffRefused, match=r"bad\.toml: versions must be at least one"):
            parse_tariff(none.encode(), file="bad.toml")

    @pytest.mark.parametrize(
        ("old", "new"),
        [('place = { zh_CN = "甲", ', "place = { "), ('energy = { zh_CN = "甲", ', "energy = { ")],
    )
    def test_refuses_a_name_that_lacks_a_language(self, old, new):
        assert "must have the languages en, ru, zh_CN, zh_TW" in refusal_of(old, new)

    def test_refuses_a_unit_of_another_service(self):
        refusal = refusal_of('unit = "kWh"', 'unit = "m3"')

        assert refusal.startswith("bad.toml: versions[1].unit is not a unit of electricity; ")
        assert "200 valley m3, 2025-07-01 to 2025-08-01) would be 578.85 CNY" in refusal

    def test_refuses_a_service_it_does_not_know(self):
        assert "service must be one of" in refusal_of('service = "electricity"', 'service = "gas"')

    def test_refuses_versions_that_overlap(self):
        again = GOOD[GOOD.index("[[versions]]") :].replace("from = 2025-01", "from = 2025-12")
        again = again.replace("valid_to = 2026", "valid_to = 2027")

        with pytest.raises(TariffRefused) as refused:
            parse_tariff((GOOD + again).encode(), file="bad.toml")

        assert "bad.toml: versions[2].valid_from is before the version above" in str(refused.value)

    def test_refuses_bytes_that_are_not_utf8(self):
        with pytest.raises(TariffRefused, match=r"bad\.toml: text"):
            parse_tariff(b"\xff\xfe", file="bad.toml")


class TestReadTariff:
    def test_refuses_a_file_that_is_not_named_for_its_code(self, tmp_path: Path):
        path = tmp_path / "elsewhere.toml"
        path.write_text(GOOD, encoding="utf-8")

        with pytest.raises(TariffRefused, match=r"elsewhere\.toml: code must name the file"):
            read_tariff(path)

    def test_reads_a_file_that_is(self, tmp_path: Path):
        path = tmp_path / "somewhere-electricity.toml"
        path.write_text(GOOD, encoding="utf-8")

        assert read_tariff(path).code == "somewhere-electricity"


class TestShippedTariffs:
    def test_have_names_in_every_language_and_flag_what_was_not_read(self):
        shipped = shipped_tariffs()

        assert shipped.keys() == {
            "anhui-electricity",
            "beijing-electricity",
            "beijing-water",
            "britain-electricity",
            "california-electricity",
            "california-water",
            "cape-town-water",
            "guangzhou-electricity",
            "hefei-water",
            "hong-kong-water",
            "kerala-electricity",
            "octopus-agile",
            "shandong-electricity",
            "shanghai-electricity",
            "shanghai-electricity-two-rate",
            "shanghai-water",
            "shenzhen-electricity",
            "shenzhen-water",
            "taiwan-electricity",
            "zhejiang-electricity",
            "zhejiang-electricity-two-rate",
        }
        assert all(tariff.place.keys() == LANGUAGES for tariff in shipped.values())
        assert "tiers.volume.limits" in shipped["hefei-water"].versions[-1].to_check
        assert "tiers.energy.limits" in shipped["anhui-electricity"].versions[-1].to_check

    def test_are_the_example_of_the_documentation(self):
        page = (Path(__file__).parents[2] / "docs" / "tariffs.md").read_text(encoding="utf-8")
        example = page.split("```toml\n")[1].split("```")[0]

        assert tomllib.loads(example)["code"] == parse_tariff(example.encode(), file="docs").code

    def test_and_its_formulas_can_all_be_read(self):
        page = (Path(__file__).parents[2] / "docs" / "tariffs.md").read_text(encoding="utf-8")
        formulas = page.split("```toml\n")[2].split("```")[0]

        def texts(part: object) -> list[str]:
            if isinstance(part, str):
                return [part]
            each = part.values() if isinstance(part, dict) else part
            return [text for inner in each for text in texts(inner)]

        versions = tomllib.loads(formulas)["versions"]
        del versions["taxes"]["vat"]["on"]
        read = [parse_number(text) for text in texts(versions)]
        assert sum(isinstance(number, Formula) and len(number.names) > 1 for number in read) >= 4
