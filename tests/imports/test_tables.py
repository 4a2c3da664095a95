"""Files as people have them: encodings, separators, workbooks, headers, empty rows."""

from datetime import datetime

import pytest

from bot.imports import COLUMNS, ColumnsMissing, ColumnsNotKnown, ColumnTwice
from bot.tables import FileNotReadable, read_table, write_table
from bot.texts import LOCALES, Texts
from core.monitoring.ingest import Reason
from tests.billing.books import ask
from tests.imports.first_data import (
    ACCOUNTS,
    KINDS,
    METERS,
    READINGS,
    bring,
    bring_all,
    changed,
    counts,
    faults,
    state,
    table,
)
from tests.workbook import workbook

CHINESE = {
    "accounts": "户号 服务 户名 电话 地址 片区 街道 楼栋 线路 人口 价目 用户类别 起始日期 语言",
    "meters": "户号 服务 表号 安装日期 位数 表底 倍率 上限 可通断",
    "readings": "表号 抄表时间 读数",
}

REASONS = (
    Reason.IN_THE_FUTURE,
    Reason.TOO_OLD,
    Reason.NOT_INSTALLED,
    Reason.REMOVED,
    Reason.NEGATIVE,
    Reason.TOO_MANY_DIGITS,
)


def typed(rows: list[list[object]], *numbers: str) -> list[list[object]]:
    """Return a table in which some columns hold numbers, as spreadsheets make them of digits."""
    columns = [rows[0].index(name) for name in numbers]
    body = [
        [float(cell) if n in columns and cell else cell for n, cell in enumerate(row)]
        for row in rows[1:]
    ]
    return [rows[0], *body]


class TestText:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    async def test_is_read_in_each_encoding_and_with_each_separator(
        self, empty, encoding, delimiter
    ):
        content = table(ACCOUNTS, delimiter).decode().encode(encoding)

        assert counts(await bring(empty, "accounts", content)) == (12, 0, 0)
        assert counts(await bring(empty, "accounts", ACCOUNTS)) == (0, 0, 12)

    async def test_may_have_empty_rows_and_cells_left_out_at_the_end(self, empty):
        rows = [row[:-1] if not row[-1] else row for row in map(list, ACCOUNTS)]
        rows[3:3] = [[], ["", " ", "　"]]
        broken = changed([*rows[:5], [*rows[5], ""], *rows[6:]], 6, people="none")

        assert faults(await bring(empty, "accounts", broken)) == [
            (6, "people", "import.not_a_number")
        ]
        assert counts(await bring(empty, "accounts", rows)) == (12, 0, 0)

    @pytest.mark.parametrize(
        "content", [b"\xff\xfe\x00\x01\xff", b'account,"service\n', b"PK\x03\x04 not a workbook"]
    )
    async def test_that_is_none_is_refused(self, empty, content):
        with pytest.raises(FileNotReadable):
            await bring(empty, "accounts", content)


class TestHeader:
    @pytest.mark.parametrize("kind", KINDS)
    async def test_can_be_chinese(self, empty, kind):
        rows = {"accounts": ACCOUNTS, "meters": METERS, "readings": READINGS}[kind]
        await bring_all(empty)

        done = await bring(empty, kind, [CHINESE[kind].split(), *rows[1:]])

        assert counts(done) == (0, 0, 12)

    async def test_has_names_in_any_writing_and_any_order(self, empty):
        rows = [list(reversed(row)) for row in ACCOUNTS]
        rows[0] = [f" {str(name).upper()} " for name in rows[0]]

        assert counts(await bring(empty, "accounts", rows)) == (12, 0, 0)

    async def test_with_an_unknown_column_is_refused_by_its_name(self, empty):
        rows = [[*row, ""] for row in ACCOUNTS]
        rows[0][-1] = "tarif"

        with pytest.raises(ColumnsNotKnown) as refusal:
            await bring(empty, "accounts", rows)
        assert refusal.value.params["names"] == "tarif"

    async def test_without_a_needed_column_is_refused_by_its_name(self, empty):
        with pytest.raises(ColumnsMissing) as refusal:
            await bring(empty, "accounts", [row[1:] for row in ACCOUNTS])
        assert refusal.value.params["names"] == "account"
        with pytest.raises(ColumnsMissing):
            await bring(empty, "readings", b"")

    async def test_with_a_column_twice_is_refused(self, empty):
        with pytest.raises(ColumnTwice):
            await bring(empty, "readings", [["serial", "meter", "taken at", "value"]])

    async def test_must_name_every_column_that_is_filled(self, empty):
        await bring_all(empty)
        rows = [list(READINGS[0]), [*READINGS[1], "what is this"]]

        assert faults(await bring(empty, "readings", rows)) == [(2, "", "import.outside_columns")]

    def test_has_no_name_for_two_columns(self):
        for columns in COLUMNS.values():
            names = [name for column in columns for name in column.names.split()]
            assert len(names) == len(set(names))


class TestWorkbook:
    async def test_gives_the_same_as_text(self, empty):
        await bring_all(empty)
        days = [[*row] for row in READINGS]
        for row in days[1:]:
            row[1] = datetime.fromisoformat(str(row[1]))

        done = [
            await bring(empty, "accounts", workbook(typed(ACCOUNTS, "people"))),
            await bring(empty, "meters", workbook(typed(METERS, "digits", "initial"))),
            await bring(empty, "readings", workbook(typed(days, "value"))),
        ]

        assert [counts(each) for each in done] == [(0, 0, 12)] * 3

    @pytest.mark.parametrize(
        ("kind", "column"), [("accounts", "account"), ("accounts", "phone"), ("meters", "serial")]
    )
    async def test_with_a_number_for_a_name_is_refused_since_zeros_may_be_lost(
        self, empty, kind, column
    ):
        if kind == "meters":
            await bring(empty, "accounts", ACCOUNTS)
        rows = {"accounts": ACCOUNTS, "meters": METERS}[kind]
        rows = changed(rows, 4, **{column: 551581})

        assert (4, column, "import.zeros_may_be_lost") in faults(
            await bring(empty, kind, workbook(rows))
        )

    async def test_may_name_what_is_known_by_a_whole_number(self, empty):
        await bring_all(empty)
        await bring(empty, "readings", workbook([READINGS[0], [34110001.0, "2026-10-05", 2050.5]]))

        lost = await bring(empty, "readings", workbook([READINGS[0], [11714, "2026-10-05", 130]]))

        assert faults(lost) == [(2, "serial", "import.unknown_meter")]
        found = await ask(empty, "SELECT count(*) FROM shuidian.readings WHERE value = 2050.5")
        assert found == [(1,)]

    async def test_keeps_decimals_as_they_were_typed(self, empty):
        await bring_all(empty)
        rows = [READINGS[0], ["0011714", "2026-10-05", 0.1 + 0.2 + 120]]

        await bring(empty, "readings", workbook(rows))

        assert "Decimal('120.3')" in str((await state(empty))["readings"])

    async def test_of_meters_may_name_accounts_without_zeros_only_where_they_have_none(self, empty):
        await bring(empty, "accounts", ACCOUNTS)

        done = await bring(empty, "meters", workbook(changed(METERS, 2, account=10001)))

        assert faults(done) == [(2, "account", "import.no_supply")]


class TestReport:
    def test_is_harmless_in_a_spreadsheet(self):
        rows = [["=1+1", "+86", "-2", "@x", "harmless"]]

        written = write_table(rows)

        assert written.startswith(b"\xef\xbb\xbf")
        assert read_table(written) == [("'=1+1", "'+86", "'-2", "'@x", "harmless")]

    @pytest.mark.parametrize("locale", LOCALES)
    def test_has_words_for_every_reason_to_refuse_a_reading(self, locale):
        texts = Texts(locale, timezone="UTC", currency="CNY")

        assert [each for each in REASONS if not texts.knows(f"import.{each}")] == []
