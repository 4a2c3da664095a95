"""Profiles: a wrong one says what is wrong, and the command line shows what one reads."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi import HTTPException
from typer.testing import CliRunner

from bot.api.auth import find_caller
from bot.cli import app
from bot.gateway.profile import SHIPPED, WrongProfile, load_profiles, read_profile
from bot.gateway.speakers import widest
from tests.gateway.shelves import DATA, PROFILES
from tests.world import NOON

PLANT = """
title = "Plant"
transport = "mqtt"

[[message]]
topic = "plant/{device}"
time = { at = "time" }
read = [{ what = "volume", at = "litres", unit = "l" }]

[commands.valve]
topic = "plant/{device}/set"
connect = "ON"
cut = "OFF"
"""


@pytest.fixture
def plant(tmp_path: Path):
    def write(old: str = "", new: str = "") -> Path:
        assert old in PLANT
        path = tmp_path / "plant.toml"
        path.write_text(PLANT.replace(old, new), encoding="utf-8")
        return path

    return write


class TestReadProfile:
    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("at = ", "att = ", "message.0.time: unknown key 'att'; allowed: at, unit"),
            ('"volume"', '"volumes"', "message.0.read.0.what: Input should be 'energy', 'volume'"),
            ('"l"', '"pint"', "unit of volume is one of: m3, l, US gal, ft3, count, written"),
            ('"l"', '"kWh"', "unit of volume is one of"),
            ('{device}"\ntime', 'x"\ntime', "either {device} in the topic, or at `device`"),
            ('"plant/{device}"\n', '"plant/#/{device}"\n', "levels of text, {name} or +, no #"),
            (
                "/set",
                "/{room}",
                "commands.valve: {room} is none of: device, number; others go in `names`",
            ),
            (
                "{device}/set",
                "set",
                "commands.valve: {device} is in the topic, or in connect and cut",
            ),
            ('cut = "OFF"', 'cut = "ON"', "connect and cut differ"),
            ('cut = "OFF"', 'cut = "OFF"\nretained = true', "commands.valve.retained"),
            ("[commands.valve]", "[commands.pump]", "commands.pump"),
            ('"mqtt"', '"http"', "every message has a topic if the transport is mqtt"),
            ('"mqtt"', '"mqtt"\nzone = "Mars/Base"', "zone is an IANA name"),
            ("title", "[title", "plant.toml: "),
            ('unit = "l"', 'unit = "l", ignore = ["x"]', "ignore of a number"),
            ('unit = "l"', 'unit = "l", factor = 0', "factor is more than 0"),
            ('"volume", at = "litres", unit = "l"', '"relay", at = "x", words = {a="up"}', "words"),
        ],
    )
    def test_of_a_wrong_file_says_which_key_and_what_is_allowed(self, plant, old, new, said):
        with pytest.raises(WrongProfile) as wrong:
            read_profile(plant(old, new), timezone="UTC")
        assert said in str(wrong.value)

    def test_of_another_directory_adds_to_the_shipped_ones(self, plant):
        directory = plant().parent
        found = load_profiles(str(directory), timezone="UTC")
        assert set(found) - {path.stem for path in SHIPPED.glob("*.toml")} == {"plant"}
        assert found["plant"].subscriptions == {"plant/+"}

    def test_of_a_shipped_name_replaces_it(self, plant):
        path = plant()
        path.rename(path.with_name("tasmota.toml"))
        found = load_profiles(str(path.parent), timezone="UTC")
        assert found["tasmota"].title == "Plant"


class TestWidest:
    def test_leaves_out_what_another_filter_covers(self):
        assert widest(["a/+", "a/b", "a/b/c", "+/b/c", "+/c"]) == {"a/+", "+/b/c", "+/c"}

    @pytest.mark.parametrize("name", sorted(PROFILES))
    def test_of_a_shipped_profile_takes_each_message_once(self, name):
        kept = widest(PROFILES[name].subscriptions)
        for message in PROFILES[name].message:
            levels = message.topic.split("/")
            covering = [
                each
                for each in kept
                if len(levels) == len(each.split("/"))
                and all(a in ("+", b) for a, b in zip(each.split("/"), levels, strict=True))
            ]
            assert len(covering) <= 1 or not message.topic


@pytest.fixture
def command(database_url, monkeypatch):
    monkeypatch.setenv("SHUIDIAN_DATABASE_URL", database_url)
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")

    def command(*words):
        with ThreadPoolExecutor() as pool:  # the thread of the tests has a loop of its own
            return pool.submit(CliRunner().invoke, app, words).result()

    return command


class TestRevoke:
    async def test_makes_a_credential_worthless_and_says_so_once(self, command, database):
        token = command("token", "cellar", "--scope", "gateway").output.split()[-1]
        async with database.transaction() as session:
            assert (await find_caller(session, token, now=NOON)).name == "cellar"

        assert command("revoke", "cellar").output == "cellar: revoked\n"
        async with database.transaction() as session:
            with pytest.raises(HTTPException):
                await find_caller(session, token, now=NOON)
        again = command("revoke", "cellar")
        assert again.stderr == "There is no working credential “cellar”.\n"
        assert again.exit_code == 1


class TestToken:
    @pytest.fixture
    def run(self, command):
        return lambda name, *options: command("token", name, "--scope", "gateway", *options)

    def test_of_a_second_gateway_of_a_maker_says_where_its_topics_begin(self, run):
        plug = ("--profile", "tasmota")
        assert run("cellar", *plug).exit_code == 0
        assert "--below" in run("annex", *plug).stderr
        assert run("annex", *plug, "--below", "gateways/annex").exit_code == 0
        assert run("attic", *plug, "--below", "gateways/attic").exit_code == 0

    @pytest.mark.parametrize("below", ["/a", "a/", "a//b", "+", "a/#", "$SYS"])
    def test_takes_only_what_topics_can_begin_with(self, run, below):
        assert run("cellar", "--profile", "tasmota", "--below", below).exit_code == 2
        assert run("cellar", "--below", "a").exit_code == 2


class TestGatewayCheck:
    def run(self, *arguments: str):
        return CliRunner().invoke(app, ["gateway", *arguments], env={"LC_ALL": "en_US.UTF-8"})

    @pytest.mark.parametrize("content", ["no json at all", '{"bizCode": "nameUpdate"}'])
    def test_of_a_sample_that_gives_nothing_says_so_and_ends_with_1(self, tmp_path, content):
        sample = tmp_path / "sample.txt"
        sample.write_text(content, encoding="utf-8")
        shown = self.run("check", "tuya", "--sample", str(sample))
        assert shown.exit_code == 1
        assert shown.stderr == "sample.txt: profile tuya reads nothing from it.\n"
        assert "not_" not in shown.output

    def test_prints_what_is_read_from_each_line_and_why_nothing(self, tmp_path):
        sample = tmp_path / "sample.txt"
        sample.write_text(
            'tele/x/SENSOR {"Time":"2026-10-05T07:15:05","ENERGY":{"Total":[401.245,484.058]}}\n'
            'tele/x/SENSOR {"Time":"20\nstat/x/POWER OFF\n',
            encoding="utf-8",
        )
        shown = self.run("check", "tasmota", "--sample", str(sample))
        assert shown.exit_code == 0
        assert "    x/2 energy total 484.058 at 2026-10-04T23:15:05+00:00" in shown.output
        assert "    not readable as JSON" in shown.output
        assert "    x relay open at " in shown.output

    def test_reads_bodies_without_topics(self):
        sample = str(DATA / "rtl433/messages.jsonl")
        topic = "rtl_433/x/events"
        shown = self.run("check", "rtl_433", "--sample", sample, "--topic", topic)
        assert "    17000321 volume total 16777159 at 2026-07-05T16:00:00+00:00" in shown.output
        assert "readable" not in shown.output

    def test_reads_one_body_of_a_cloud_over_many_lines(self, tmp_path):
        sample = tmp_path / "body.json"
        sample.write_text('{"devId": "d",\n "bizCode":\n "online"}', encoding="utf-8")
        shown = self.run("check", "tuya", "--sample", str(sample))
        assert "    d online true at " in shown.output

    def test_of_a_wrong_profile_ends_with_what_is_wrong(self, plant):
        path = plant('"l"', '"pint"')
        shown = self.run("check", str(path), "--sample", str(path))
        assert shown.exit_code == 1
        assert "unit of volume is one of" in shown.output

    def test_of_an_unknown_profile_names_those_there_are(self, plant):
        shown = self.run("check", "plants", "--sample", str(plant()))
        assert shown.exit_code == 2

    def test_lists_the_profiles(self):
        shown = self.run("profiles")
        assert set(PROFILES) == {line.split()[0] for line in shown.output.splitlines()}
