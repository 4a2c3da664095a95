"""Every sentence exists in every language, with the same placeholders, and is used."""

import ast
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from string import Formatter

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from bot import routes
from bot.texts import CATALOGS, LOCALES, Texts

ROOT = Path(__file__).parent.parent
KEY = re.compile(r"[a-z_]+(\.[a-z_0-9]+)+")


def catalog(locale: str) -> Catalog:
    path = CATALOGS / locale / "LC_MESSAGES" / "messages.po"
    with path.open("rb") as file:
        return read_po(file, locale=locale)


def sentences(locale: str) -> dict[str, tuple[str, ...]]:
    found = {}
    for message in catalog(locale):
        if message.id:
            key = message.id[0] if isinstance(message.id, tuple) else message.id
            text = message.string
            found[key] = text if isinstance(text, tuple) else (text,)
    return found


def placeholders(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name is not None}


def strings_in_code() -> Iterator[tuple[str, bool]]:
    """Yield string constants, and the constant heads of f-strings (marked True)."""
    for package in ("bot", "core"):
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.JoinedStr) and node.values:
                    head = node.values[0]
                    if isinstance(head, ast.Constant) and "." in str(head.value):
                        yield str(head.value), True
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value, False


def codes_of_refusals() -> Iterator[str]:
    for package in ("bot", "core"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.ClassDef(body=body):
                        for item in body:
                            match item:
                                case ast.Assign(
                                    targets=[ast.Name(id="code")], value=ast.Constant(value=code)
                                ):
                                    yield code


@pytest.mark.parametrize("locale", LOCALES)
def test_each_language_has_every_sentence_once(locale: str) -> None:
    text = (CATALOGS / locale / "LC_MESSAGES" / "messages.po").read_text(encoding="utf-8")
    keys = re.findall(r'^msgid "(.+)"$', text, flags=re.MULTILINE)
    assert sorted({key for key in keys if keys.count(key) > 1}) == []
    assert sorted(set(sentences("en")) ^ set(sentences(locale))) == []
    assert [key for key, forms in sentences(locale).items() if not all(forms)] == []


@pytest.mark.parametrize("locale", LOCALES)
def test_placeholders_are_the_same_in_each_language(locale: str) -> None:
    expected = {key: placeholders(forms[-1]) for key, forms in sentences("en").items()}
    different = [
        key
        for key, forms in sentences(locale).items()
        if any(placeholders(form) - {"number"} != expected[key] - {"number"} for form in forms)
    ]
    assert different == []


def test_each_refusal_has_a_sentence() -> None:
    assert sorted(set(codes_of_refusals()) - set(sentences("en"))) == []


def test_every_sentence_is_used() -> None:
    constants = {text for text, is_head in strings_in_code() if not is_head}
    heads = tuple(text for text, is_head in strings_in_code() if is_head and KEY.match(text + "x"))
    unused = [key for key in sentences("en") if key not in constants and not key.startswith(heads)]
    assert unused == []


def test_every_key_in_the_code_has_a_sentence() -> None:
    prefixes = {key.split(".")[0] for key in sentences("en")}
    calls = set()
    for path in (ROOT / "bot").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(
                        attr="get" | "plain" | "count" | "say" | "show" | "toast" | "alert"
                    ),
                    args=[ast.Constant(value=str() as key), *_],
                ) if KEY.fullmatch(key) and key.split(".")[0] in prefixes:
                    calls.add(key)
    assert sorted(calls - set(sentences("en"))) == []


def test_every_sentence_gets_the_values_that_it_names() -> None:
    named = {
        key: set().union(*map(placeholders, forms)) - {"number"}
        for key, forms in sentences("en").items()
    }
    wanting = []
    for path in (ROOT / "bot").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="get" | "plain" | "count" | "say" | "show" | "toast"),
                    args=[ast.Constant(value=str() as key), *_],
                    keywords=keywords,
                ) if key in named and None not in {each.arg for each in keywords}:
                    missing = named[key] - {each.arg for each in keywords}
                    wanting += [(key, name) for name in sorted(missing)]
    assert wanting == []


def test_taiwan_has_one_word_for_what_a_meter_shows() -> None:
    forms = sentences("zh_TW").items()
    assert [key for key, texts in forms if any("讀數" in text for text in texts)] == []


@pytest.mark.parametrize("key", ["reading.unusual", "exchange.unusual"])
@pytest.mark.parametrize(("times", "words"), [(21, "21 раз "), (332, "332 раза "), (12, "12 раз ")])
def test_times_the_usual_are_counted_in_russian(key: str, times: int, words: str) -> None:
    texts = Texts("ru", timezone="UTC", currency="CNY")
    assert words in texts.count(key, times, factor=times, value="", use="")


@pytest.mark.parametrize("locale", LOCALES)
def test_every_command_has_its_line_in_the_menu(locale: str) -> None:
    texts = Texts(locale, timezone="UTC", currency="CNY")
    listed = [name for name, command in routes.COMMANDS.items() if command.in_menu]
    assert [name for name in listed if not texts.knows(f"menu.{name}")] == []


@pytest.mark.parametrize("key", ["plan.next", "paypage.part", "prepaid.lasts"])
def test_a_russian_date_at_the_end_of_a_sentence_has_one_full_stop(key: str) -> None:
    texts = Texts("ru", timezone="Asia/Shanghai", currency="CNY")
    day = texts.day(date(2026, 12, 9))
    names = ("amount", "position", "count", "left", "burn", "number")

    for sentence in sentences("ru")[key]:
        words = sentence.format(**dict.fromkeys(names, "1"), day=day, until=day)
        assert "2026" in words
        assert ".." not in words
