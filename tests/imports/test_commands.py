"""`shuidian import` and `shuidian limits` as whoever runs the service meets them."""

import csv
import re
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from io import StringIO

import psycopg
import pytest
from sqlalchemy.engine import make_url
from typer.testing import CliRunner, Result

from bot.cli import app
from core.billing.tariff_store import shipped_contents
from tests.gateway.shelves import DATA
from tests.imports.first_data import ACCOUNTS, EXAMPLES, METERS, changed, table


@pytest.fixture
def run(database_url, monkeypatch):
    monkeypatch.setenv("SHUIDIAN_DATABASE_URL", database_url)
    for name in ("LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "en_US.UTF-8")

    def run(*words: object, **environment: str) -> Result:
        with ThreadPoolExecutor() as pool:  # the thread of the tests has a loop of its own
            return pool.submit(
                CliRunner().invoke, app, list(map(str, words)), env=environment
            ).result()

    assert run("tariffs", "load").exit_code == 0
    return run


def ask(url: str, query: str) -> list[tuple[object, ...]]:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as connection:
        return connection.execute(query).fetchall()


class TestTariffs:
    def test_that_are_shipped_are_those_in_the_operators_currency(
        self, run, database_url, tmp_path
    ):
        loaded = "SELECT DISTINCT code FROM shuidian.tariff_versions"
        codes = {code for (code,) in ask(database_url, loaded)}
        assert {"hefei-water", "zhejiang-electricity"} <= codes
        assert not {"kerala-electricity", "octopus-agile", "cape-town-water"} & codes

        named = run("tariffs", "load", "octopus-agile")
        assert (named.exit_code, named.output) == (0, "octopus-agile 2022-01-01\n")
        assert run("tariffs", "load", "hefei-water").output == "Nothing new.\n"

        assert "No such file" in run("tariffs", "load", "no-such-water").output

        wrong = tmp_path / "hefei-water.toml"
        wrong.write_bytes(shipped_contents()["hefei-water.toml"].replace(b"0.95", b"0.96"))
        refused = run("tariffs", "load", wrong)
        assert refused.exit_code == 1
        assert "would be 6.32 CNY, the file says 6.30" in refused.output
        assert refused.output == run("tariffs", "check", wrong).output

    def test_that_are_shipped_are_all_good(self, run):
        checked = run("tariffs", "check")
        assert checked.exit_code == 0
        assert checked.output.count(": good\n") == len(shipped_contents())


class TestImport:
    def test_tells_what_it_did(self, run, database_url):
        tried = run("import", "accounts", EXAMPLES / "accounts.csv", "--dry-run")
        assert "0 changed" in tried.stdout
        assert "nothing was stored" in tried.stdout
        assert ask(database_url, "SELECT FROM shuidian.accounts") == []

        for kind in ("accounts", "meters", "readings"):
            done = run("import", kind, EXAMPLES / f"{kind}.csv")
            assert (done.exit_code, done.stderr) == (0, "")
            assert done.stdout == f"{kind}.csv: 12 new, 0 changed, 0 unchanged\n"

        again = run("import", "meters", EXAMPLES / "meters.csv", LANG="zh_CN.UTF-8")
        assert again.stdout == "meters.csv：新增 0 行，变更 0 行，未变 12 行\n"  # noqa: RUF001 (Chinese)

    def test_takes_what_meters_write_and_says_what_is_wrong_with_it(self, run, tmp_path):
        telegram = DATA / "dsmr-p1/v4_2.txt"
        broken = tmp_path / "broken.txt"
        broken.write_bytes(telegram.read_bytes().replace(b"1-0:1.8.1", b"1-0:1.8.0"))
        assert run("import", "p1", broken).stderr == (
            "number 1: this telegram is not whole: its checksum is wrong\n"
            "broken.txt: nothing was stored; faults: 1\n"
        )
        unknown = run("import", "p1", telegram, "--dry-run", "--total")
        assert (unknown.exit_code, "there is no meter" in unknown.stderr) == (1, True)
        nothing = run("import", "green-button", telegram, "--meter", "1")
        assert (nothing.exit_code, nothing.stderr.count("\n")) == (1, 1)
        wrong = run("import", "green-button", telegram, "--meter", "1", "--start", "much")
        said = "--start: “much” is no number; write for example 1234.5\n"
        assert (wrong.exit_code, wrong.stderr) == (1, said)

    def test_names_no_file_that_it_does_not_take(self, run, tmp_path):
        garbage = tmp_path / "photo.csv"
        garbage.write_bytes(b"\x89PNG\r\n")
        assert run("import", "readings", garbage).stderr.endswith("Choose a CSV or a workbook.\n")

    def test_says_of_a_sample_that_it_is_empty(self, run, tmp_path):
        empty = tmp_path / "sample.txt"
        empty.write_bytes(b"\n")
        done = run("gateway", "check", "tasmota", "--sample", empty)
        assert (done.exit_code, done.stderr) == (1, "sample.txt is empty.\n")
        empty.write_bytes(b"a/b {}")
        done = run("gateway", "check", "tasmota", "--sample", empty, LANG="zh_CN.UTF-8")
        assert done.stdout.startswith("单位：")  # noqa: RUF001 (Chinese)

    def test_tells_every_fault_and_writes_them_down(self, run, tmp_path):
        file, report = tmp_path / "mine.csv", tmp_path / "errors.csv"
        file.write_bytes(table(changed(changed(ACCOUNTS, 4, people="=1"), 6, tariff="gas")))

        done = run("import", "accounts", file, "--report", report)

        assert done.exit_code == 1
        assert done.stdout == ""
        assert done.stderr.splitlines() == [
            "row 4, people: “=1” is not a number; write it like 1234.5, without separators",
            "row 6, tariff: no tariff “gas” is loaded for this service (shuidian tariffs load)",
            "mine.csv: nothing was stored; faults: 2",
        ]
        rows = list(csv.reader(StringIO(report.read_bytes().decode("utf-8-sig"))))
        assert [row[:2] for row in rows] == [["Row", "Column"], ["4", "people"], ["6", "tariff"]]

    @pytest.mark.parametrize("language", ["C.UTF-8", "", "zh_TW.UTF-8", "ru_RU.UTF-8"])
    def test_speaks_the_shells_language_or_the_operators(self, run, tmp_path, language):
        file = tmp_path / "mine.csv"
        file.write_bytes(table(changed(METERS, 4, digits="0")))

        done = run("import", "meters", file, LANG=language)

        words = {"zh_TW.UTF-8": "沒有", "ru_RU.UTF-8": "ничего"}.get(language, "没有")
        assert words in done.stderr

    def test_tells_days_and_moments_with_their_years(self, run, tmp_path):
        for kind in ("accounts", "meters"):
            run("import", kind, EXAMPLES / f"{kind}.csv")
        file = tmp_path / "mine.csv"
        file.write_text(
            "serial,taken at,value\n0011714,2020-11-01 00:00,1\n0011714,2026-10-01 00:00,-5\n"
        )

        said = run("import", "readings", file).stderr.splitlines()
        assert re.fullmatch("row 2, taken at: Nov 1, 2020 12:00.AM is .* three years ago", said[0])
        assert said[1] == "row 3, value: may not be below zero"

    @pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b"account,who\n1,2\n", b""])
    def test_refuses_in_one_line_what_is_no_such_file(self, run, tmp_path, content):
        file = tmp_path / "mine.csv"
        if content is not None:
            file.write_bytes(content)

        done = run("import", "accounts", file)

        assert done.exit_code == 1
        assert done.stderr.count("\n") == 1
        assert isinstance(done.exception, SystemExit)


class TestRefusal:
    @pytest.mark.parametrize(
        "words",
        [
            ["meters", "master", "404"],
            ["meters", "master", "404", "--area", "Nowhere"],
            ["invite", "--account", "404"],
            ["bill", "show", "W404"],
            ["bill", "run", "--service", "water", "--period", "2126-10"],
            ["bridge", "read", "no-such.toml"],
            ["gateway", "check", "no-such.toml", "--sample", str(EXAMPLES / "meters.csv")],
        ],
    )
    @pytest.mark.parametrize("language", ["en_US.UTF-8", "zh_CN.UTF-8"])
    def test_of_a_command_is_a_line_of_words(self, run, words, language):
        done = run(*words, LANG=language)

        assert done.exit_code == 1
        assert done.stderr.count("\n") == 1
        assert not re.search(r"[a-z]\.[a-z]+_|_not_|Errno", done.stderr)


class TestBillRun:
    def test_tells_why_there_is_no_bill_in_words(self, run):
        for kind in ("accounts", "meters"):
            run("import", kind, EXAMPLES / f"{kind}.csv")

        shown = run("bill", "run", "--service", "water", "--period", "2026-10", "--dry-run")

        assert "Without a bill (no reading near the end): 6" in shown.stdout
        assert "no_reading" not in shown.stdout


class TestLimits:
    def test_are_set_for_a_place_and_listed(self, run, database_url):
        run("import", "accounts", EXAMPLES / "accounts.csv")
        run("import", "meters", EXAMPLES / "meters.csv")
        everywhere = ("limits", "set", "--quantity", "pressure", "--low", "140", "--high", "600")
        scopes = {
            (): "*",
            ("--area", "城东片区/长江街/1号楼"): "1号楼",
            ("--meter", "0011714"): "0011714",
            ("--class", "shop"): "shop",
        }

        for scope in (*scopes, *scopes):
            done = run(*everywhere, *scope)
            assert (done.exit_code, done.stderr) == (0, "")

        lines = run("limits", "list").stdout.splitlines()
        pressure = [line.rpartition("  ")[2] for line in lines if line.startswith("pressure")]
        assert sorted(pressure) == sorted(scopes.values())
        kept = (
            "SELECT DISTINCT low, high, deadband, hold_seconds FROM shuidian.limits"
            " WHERE quantity = 'pressure'"
        )
        assert ask(database_url, kept) == [(140, 600, Decimal("2.8"), 1200)]

    def test_replace_only_those_of_the_same_scope(self, run, database_url):
        run("limits", "set", "--quantity", "voltage", "--low", "198.0", "--high", "235.4")
        run("limits", "set", "--quantity", "pressure", "--low", "100", "--hold", "90s")
        run("limits", "set", "--quantity", "pressure", "--high", "500", "--deadband", "7")

        kept = "SELECT quantity, low, high, deadband, hold_seconds FROM shuidian.limits ORDER BY 1"
        assert ask(database_url, kept) == [
            ("pressure", None, 500, 7, 1200),
            ("voltage", Decimal("198.0"), Decimal("235.4"), Decimal("4.0"), 1200),
        ]

    @pytest.mark.parametrize(
        "words",
        [
            ["--quantity", "flow", "--low", "1"],
            ["--quantity", "pressure"],
            ["--quantity", "pressure", "--low", "600", "--high", "140"],
            ["--quantity", "pressure", "--low", "140", "--high", "141"],
            ["--quantity", "pressure", "--low", "much"],
            ["--quantity", "pressure", "--low", "NaN"],
            ["--quantity", "pressure", "--low", "1", "--hold", "soon"],
            ["--quantity", "pressure", "--low", "1", "--deadband=-1"],
            ["--quantity", "pressure", "--low", "140", "--hold", "0s"],
            ["--quantity", "pressure", "--low", "140", "--deadband", "200%"],
            ["--quantity", "silence", "--high", "0", "--deadband", "0"],
            ["--quantity", "pressure", "--low", "1", "--area", "Nowhere"],
            ["--quantity", "pressure", "--low", "1", "--meter", "0"],
            ["--quantity", "pressure", "--low", "1", "--meter", "0", "--class", "home"],
        ],
    )
    def test_that_cannot_be_are_refused_in_one_line(self, run, database_url, words):
        done = run("limits", "set", *words)

        assert done.exit_code == 1
        assert done.stderr.count("\n") == 1
        kept = "SELECT quantity, low, high FROM shuidian.limits ORDER BY 1"
        assert ask(database_url, kept) == [  # what is usually normal, from the first start on
            ("pressure", 140, 600),
            ("voltage", Decimal("198.0"), Decimal("235.4")),
        ]
