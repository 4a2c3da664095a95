"""The house rules that no linter knows; each is shown an offence, to see that it is caught."""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from textwrap import dedent

import pytest

PROJECT = Path(__file__).parents[1]
LINES_OF_A_MODULE_MAX = 400
LINES_OF_A_FUNCTION_MAX = 70

INEXACT = {"float", "Float", "FLOAT", "Double", "DOUBLE", "DOUBLE_PRECISION", "REAL"}
CLOCKS = {
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
    "time.time",
    "time.time_ns",
    "sqlalchemy.func.now",
    "sqlalchemy.func.current_date",
    "sqlalchemy.func.current_timestamp",
    "sqlalchemy.func.clock_timestamp",
}
ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv"}
WORDS = re.compile(
    r"[A-Za-z]{2,},? ([A-Za-z]|\{\})|([A-Za-z]|\{\}),? [A-Za-z]{2,}|[A-Za-z]{2,}[!?]$"
)
LOGGING = {"debug", "info", "warning", "error", "exception", "critical"}
EMPTY_NAMES = {"util", "utils", "helper", "helpers", "common", "misc"}
PERSON_OR_TOOL = re.compile(r".(Utils?|Helpers?|Manager)$")  # a plain Manager is a person
NOT_DONE = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


def find_inexact_numbers(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Constant(value=float() | complex()):
                yield f"{node.lineno}: write Decimal('…')"
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in INEXACT:
                yield f"{node.lineno}: {name}: quantities are Decimal, charges int minor units"


def find_ends_of_transactions(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(attr="commit" | "rollback"):
                yield f"{node.lineno}: only core.db ends a transaction"


def find_environment(source: str) -> Iterator[str]:
    for line, name in iterate_uses(source):
        if name in ENVIRONMENT:
            yield f"{line}: {name}: only bot.settings reads the environment"


def find_clocks(source: str) -> Iterator[str]:
    for line, name in iterate_uses(source):
        if name in CLOCKS:
            yield f"{line}: {name}: take `now` as an argument"


def find_sentences(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    excused = {id(part) for root in iterate_excused(tree) for part in ast.walk(root)}
    for node in ast.walk(tree):
        match node:
            case ast.JoinedStr(values=parts):
                excused |= {id(part) for part in parts}
                text = "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts
                )
            case ast.Constant(value=str(text)):
                pass
            case _:
                continue
        if id(node) not in excused and (not text.isascii() or WORDS.search(text)):
            yield f"{node.lineno}: {text!r}: sentences live in the catalogs"


def iterate_excused(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield what no customer reads: docstrings, annotations, what is raised, asserted or logged."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant()) | ast.Raise() | ast.Assert():
                yield node
            case ast.Call(func=ast.Attribute(attr=name)) if name in LOGGING:
                yield node
            case ast.AnnAssign(annotation=note) | ast.arg(annotation=ast.expr() as note):
                yield note
            case ast.FunctionDef() | ast.AsyncFunctionDef() if node.returns:
                yield node.returns


def find_long_parts(source: str) -> Iterator[str]:
    lines = len(source.splitlines())
    if lines > LINES_OF_A_MODULE_MAX:
        yield f"1: the module has {lines} lines, more than {LINES_OF_A_MODULE_MAX}"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LINES_OF_A_FUNCTION_MAX:
                yield f"{node.lineno}: {node.name} has {length} lines"


def find_empty_names(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ClassDef(name=name) if PERSON_OR_TOOL.search(name):
                yield f"{node.lineno}: {name}: name what it does"
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                if EMPTY_NAMES & set(name.lower().split("_")) - {"common"}:
                    yield f"{node.lineno}: {name}: name what it does"


def find_empty_paths(path: str) -> Iterator[str]:
    for part in PurePosixPath(path).with_suffix("").parts:
        words = part.lower().split("_")
        if (
            part in EMPTY_NAMES
            or words[-1] in EMPTY_NAMES
            or (words[-1] == "manager" and words[:-1])
        ):
            yield f"{path}: {part}: name the noun it is about"


def find_unfinished_work(source: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in {tokenize.COMMENT, tokenize.STRING} and NOT_DONE.search(token.string):
            yield f"{token.start[0]}: finish it, or write it down where work is planned"


def iterate_uses(source: str) -> Iterator[tuple[int, str]]:
    """Yield every name in the source as the full name of what was imported, with its line."""
    tree = ast.parse(source)
    imported: dict[str, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                whole = {name.name.split(".")[0] for name in names if not name.asname}
                imported |= {name: name for name in whole}
                imported |= {name.asname: name.name for name in names if name.asname}
            case ast.ImportFrom(module=str(module), names=names, level=0):
                imported |= {name.asname or name.name: f"{module}.{name.name}" for name in names}
    for node in ast.walk(tree):
        parts = []
        inner = node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name) and inner.id in imported:
            yield inner.lineno, ".".join([imported[inner.id], *reversed(parts)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is looked for and where, an offence that it must catch and a twin that it must not."""

    find: Callable[[str], Iterator[str]]
    within: tuple[str, ...] = ("bot", "core")
    except_in: tuple[str, ...] = ()
    offences: tuple[str, ...]
    harmless: str

    def rules(self, path: PurePosixPath) -> bool:
        """Tell whether the file is under this rule."""
        return any(path.is_relative_to(place) for place in self.within) and not any(
            path.is_relative_to(place) for place in self.except_in
        )


RULES = (
    Rule(
        find=find_inexact_numbers,
        within=("core",),
        offences=(
            "price = 0.5",
            "value = float(text)",
            "x: float",
            "import sqlalchemy as sa\nsa.Float()",
        ),
        harmless='price = Decimal("0.5")\nfloating = 1 // 2',
    ),
    Rule(
        find=find_ends_of_transactions,
        except_in=("core/db.py", "bot/playground"),  # the playground has a store of its own
        offences=("await session.commit()", "session.rollback()"),
        harmless="await session.flush()\ncommit = 1",
    ),
    Rule(
        find=find_environment,
        except_in=("bot/settings.py",),
        offences=(
            "import os\nos.environ['A']",
            "import os as o\no.getenv('A')",
            "from os import environ as e\ne.get('A')",
        ),
        harmless="import os\nos.getpid()\nenviron = {}\nenviron['A']",
    ),
    Rule(
        find=find_clocks,
        except_in=("bot/clock.py", "bot/playground"),  # Telegram's clock is not ours
        offences=(
            "from datetime import datetime\ndatetime.now()",
            "import datetime as dt\ndt.datetime.now(dt.UTC)",
            "from datetime import date as day\nday.today()",
            "from time import time\ntime()",
            "from sqlalchemy import func\nfunc.now()",
        ),
        harmless="import time\nclock.now()\ntime.monotonic()\ndatetime.now()\nself.date.today()",
    ),
    Rule(
        find=find_sentences,
        within=("bot/handlers",),
        offences=(
            'reply("水费")',
            'reply("Your bill is ready")',
            'reply(f"Dear {name}")',
            'reply(f"{used} kWh")',
            'button("Done!")',
            'button("✅")',
        ),
        harmless="""
            '''Ask what is owed: the customer's words.'''
            def ask(reply: "Callable[[str], None] | None") -> "dict[str, str] | None":
                '''Ask for the value in m³.'''
                reply(texts.get("bill.how_much", owed=f"bill:{number}", pattern=r"^/pay (\\d+)$"))
                logger.info("customer asked for a bill")
                raise ValueError("no such step in the dialogue")
        """,
    ),
    Rule(
        find=find_long_parts,
        except_in=("core/migrations/versions",),  # history, written once
        offences=("\n" * 401, "def endless():\n" + "    pass\n" * 70),
        harmless="def long():\n" + "    pass\n" * 69 + "\n" * 330,
    ),
    Rule(
        find=find_empty_names,
        offences=("class MessageHelper: ...", "class DataManager: ...", "def format_utils(): ..."),
        harmless="class Manager: ...\nclass ManagerDuty: ...\ndef find_common_holder(): ...",
    ),
    Rule(
        find=find_unfinished_work,
        offences=("x = 1  # TODO: more", "'''FIXME later.'''"),
        harmless="# all of it is done\ntodo = 'todo'",
    ),
)


def list_sources() -> list[Path]:
    return sorted(path for place in ("bot", "core") for path in (PROJECT / place).rglob("*.py"))


def name_rule(rule: Rule) -> str:
    return rule.find.__name__


@pytest.mark.parametrize("rule", RULES, ids=name_rule)
class TestRule:
    def test_is_kept(self, rule: Rule) -> None:
        found = []
        for path in list_sources():
            name = PurePosixPath(path.relative_to(PROJECT).as_posix())
            if rule.rules(name):
                found += [f"{name}:{why}" for why in rule.find(path.read_text(encoding="utf-8"))]
        assert found == []

    def test_catches_every_offence(self, rule: Rule) -> None:
        missed = [offence for offence in rule.offences if not list(rule.find(offence))]
        assert missed == []

    def test_lets_the_harmless_pass(self, rule: Rule) -> None:
        assert list(rule.find(dedent(rule.harmless))) == []

    def test_is_about_files_that_exist(self, rule: Rule) -> None:
        missing = [
            place for place in rule.within + rule.except_in if not (PROJECT / place).exists()
        ]
        assert missing == []


class TestPaths:
    def test_are_named_for_what_is_inside(self) -> None:
        paths = [path.relative_to(PROJECT).as_posix() for path in list_sources()]
        assert [why for path in paths for why in find_empty_paths(path)] == []

    @pytest.mark.parametrize(
        "path",
        ["bot/utils.py", "core/common/money.py", "bot/text_helpers.py", "bot/chat_manager.py"],
    )
    def test_are_caught_when_they_say_nothing(self, path: str) -> None:
        assert list(find_empty_paths(path)) != []

    @pytest.mark.parametrize("path", ["bot/handlers/manager.py", "core/billing/tariffs.py"])
    def test_may_name_a_person(self, path: str) -> None:
        assert list(find_empty_paths(path)) == []


def read_lock(name: str) -> dict[str, str]:
    """Return each locked requirement, by its first line, with all of its lines."""
    text = (PROJECT / name).read_text(encoding="utf-8")
    return {part.split(" ", 1)[0]: part for part in re.split(r"\n(?=\S)", text.strip())}


class TestLocks:
    @pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
    def test_hold_exact_versions_with_hashes_and_no_addresses(self, name: str) -> None:
        requirement = re.compile(r"[\w.-]+==\S+( ; [^\\]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+")
        wrong = [part for part in read_lock(name).values() if not requirement.fullmatch(part)]
        assert wrong == []

    def test_agree_on_what_runs(self) -> None:
        assert read_lock("requirements.lock").items() <= read_lock("requirements-dev.lock").items()


# Imports every module with nothing set and no network. Alembic runs its entry and the versions.
IMPORT_ALL = """
import importlib, pkgutil, sys

def refuse_network(event, _arguments):
    if event in {"socket.connect", "socket.getaddrinfo"}:
        raise AssertionError(f"{event} while importing")

sys.path.insert(0, sys.argv[1])
sys.addaudithook(refuse_network)
count = 0
for package in sys.argv[2:]:
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        if not module.name.startswith(("core.migrations.env", "core.migrations.versions")):
            importlib.import_module(module.name)
            count += 1
print(count)
"""


def import_all(root: Path, *packages: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-B", "-c", IMPORT_ALL, str(root), *packages],
        cwd=directory,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )


class TestImporting:
    def test_needs_no_environment_and_no_network(self, tmp_path: Path) -> None:
        done = import_all(PROJECT, "bot", "core", directory=tmp_path)

        assert done.stderr == ""
        assert int(done.stdout) > 10
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "source",
        [
            "import os\nos.environ['SHUIDIAN_DATABASE_URL']",
            "import socket\nsocket.create_connection(('127.0.0.1', 1))",
        ],
    )
    def test_is_caught_when_it_needs_them(self, tmp_path: Path, source: str) -> None:
        (tmp_path / "needy").mkdir()
        (tmp_path / "needy" / "__init__.py").touch()
        (tmp_path / "needy" / "module.py").write_text(source)

        done = import_all(tmp_path, "needy", directory=tmp_path)

        assert "needy/module.py" in done.stderr
