"""What must survive a restart: documents, counters and the bytes of files, in one SQLite file."""

import json
import sqlite3
from pathlib import Path
from typing import Any, Final

from bot.playground.params import Json

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS documents (
  bot INTEGER, kind TEXT, chat INTEGER, id TEXT, seq INTEGER, body TEXT,
  PRIMARY KEY (bot, kind, chat, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS in_order ON documents (bot, kind, chat, seq);
CREATE TABLE IF NOT EXISTS counters (
  bot INTEGER, name TEXT, value INTEGER, PRIMARY KEY (bot, name)
);
CREATE TABLE IF NOT EXISTS contents (bot INTEGER, id TEXT, body BLOB, PRIMARY KEY (bot, id));
"""
KEPT_BYTES: Final = 256 * 1024 * 1024  # files beyond this push the oldest ones out


def connect(path: Path | None) -> sqlite3.Connection:
    """Open the file of the playground, or a database in memory when there is none."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path or ":memory:", check_same_thread=False)
    # A killed process loses nothing that was committed; only a power cut could.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=OFF")
    connection.executescript(SCHEMA)
    return connection


class Store:
    """One bot's part of the database; nothing is kept until `commit`."""

    def __init__(self, connection: sqlite3.Connection, *, bot_id: int) -> None:
        self._db = connection
        self._bot = bot_id

    def commit(self) -> None:
        """Make all changes since the last commit permanent."""
        self._db.commit()

    def put(self, kind: str, key: object, body: Any, *, chat: int = 0) -> None:  # noqa: ANN401 - JSON
        """Keep a document under its kind, chat and key, replacing an older one."""
        self._db.execute(
            "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET body = excluded.body",
            (self._bot, kind, chat, str(key), key if isinstance(key, int) else 0, json.dumps(body)),
        )

    def get(self, kind: str, key: object, *, chat: int = 0) -> Any:  # noqa: ANN401 - JSON is anything
        """Find a document, or None."""
        row = self._db.execute(
            "SELECT body FROM documents WHERE bot = ? AND kind = ? AND chat = ? AND id = ?",
            (self._bot, kind, chat, str(key)),
        ).fetchone()
        return None if row is None else json.loads(row[0])

    def drop(self, kind: str, key: object, *, chat: int = 0) -> None:
        """Forget one document."""
        self._db.execute(
            "DELETE FROM documents WHERE bot = ? AND kind = ? AND chat = ? AND id = ?",
            (self._bot, kind, chat, str(key)),
        )

    def drop_kind(self, *kinds: str) -> None:
        """Forget every document of some kinds."""
        for kind in kinds:
            self._db.execute("DELETE FROM documents WHERE bot = ? AND kind = ?", (self._bot, kind))

    def latest(self, kind: str, *, chat: int = 0, limit: int = -1) -> list[Json]:
        """List the newest documents of a kind and chat, oldest first."""
        rows = self._db.execute(
            "SELECT body FROM documents WHERE bot = ? AND kind = ? AND chat = ? "
            "ORDER BY seq DESC LIMIT ?",
            (self._bot, kind, chat, limit),
        ).fetchall()
        return [json.loads(body) for (body,) in reversed(rows)]

    def next_number(self, name: str, *, step: int = 1, start: int = 1) -> int:
        """Take the next number of a counter that only ever grows."""
        row = self._db.execute(
            "INSERT INTO counters VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET value = value + ? RETURNING value",
            (self._bot, name, start, step),
        ).fetchone()
        return int(row[0])

    def keep_content(self, key: str, content: bytes) -> None:
        """Keep the bytes of a file, and forget the oldest ones when there are too many."""
        self._db.execute("INSERT INTO contents VALUES (?, ?, ?)", (self._bot, key, content))
        self._db.execute(
            "DELETE FROM contents WHERE rowid IN (SELECT rowid FROM (SELECT rowid, "
            "sum(length(body)) OVER (ORDER BY rowid DESC) AS held FROM contents) WHERE held > ?)",
            (KEPT_BYTES,),
        )

    def content(self, key: str) -> bytes | None:
        """Find the bytes of a file, or None when they were forgotten."""
        row = self._db.execute(
            "SELECT body FROM contents WHERE bot = ? AND id = ?", (self._bot, key)
        ).fetchone()
        return None if row is None else bytes(row[0])

    def forget_contents(self) -> None:
        """Forget the bytes of all files."""
        self._db.execute("DELETE FROM contents WHERE bot = ?", (self._bot,))
