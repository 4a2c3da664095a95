"""What must survive a restart: documents and the bytes of files, in one SQLite file."""

import json
import sqlite3
from pathlib import Path
from typing import Any, Final

from bot.playground.params import Json

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS documents (
  bot INTEGER, kind TEXT, id, body TEXT, PRIMARY KEY (bot, kind, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS contents (bot INTEGER, id TEXT, body BLOB, PRIMARY KEY (bot, id));
"""
KEPT_BYTES: Final = 256 * 1024 * 1024  # files beyond this push the oldest ones out


def connect(path: Path | None) -> sqlite3.Connection:
    """Open the file of the playground, or a database in memory when there is none."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    # Each change is kept at once: a killed process loses nothing, only a power cut could.
    connection = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=OFF")
    connection.executescript(SCHEMA)
    return connection


class Store:
    """One bot's part of the database."""

    def __init__(self, connection: sqlite3.Connection, *, bot_id: int) -> None:
        self._db = connection
        self._bot = bot_id

    def put(self, kind: str, key: int | str, body: Any) -> None:  # noqa: ANN401 - JSON is anything
        """Keep a document under its kind and key, replacing an older one."""
        row = (self._bot, kind, key, json.dumps(body, ensure_ascii=False))
        self._db.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?)", row)

    def get(self, kind: str, key: int | str = 0) -> Any:  # noqa: ANN401 - JSON is anything
        """Find a document, or None."""
        row = self._db.execute(
            "SELECT body FROM documents WHERE bot = ? AND kind = ? AND id = ?",
            (self._bot, kind, key),
        ).fetchone()
        return None if row is None else json.loads(row[0])

    def drop(self, kind: str, key: int | str = 0) -> None:
        """Forget one document."""
        self._db.execute(
            "DELETE FROM documents WHERE bot = ? AND kind = ? AND id = ?", (self._bot, kind, key)
        )

    def latest(self, kind: str, *, limit: int = -1) -> list[Json]:
        """List the documents of a kind with the largest keys, in order."""
        rows = self._db.execute(
            "SELECT body FROM documents WHERE bot = ? AND kind = ? ORDER BY id DESC LIMIT ?",
            (self._bot, kind, limit),
        ).fetchall()
        return [json.loads(body) for (body,) in reversed(rows)]

    def next_number(self, name: str, *, start: int, step: int = 1) -> int:
        """Take the next number of a counter that only ever grows."""
        last = self.get("counter", name)
        number = start if last is None else int(last) + step
        self.put("counter", name, number)
        return number

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

    def forget(self, *patterns: str) -> None:
        """Forget all documents whose kind is like one of some patterns, and all files."""
        for pattern in patterns:
            self._db.execute(
                "DELETE FROM documents WHERE bot = ? AND kind GLOB ?", (self._bot, pattern)
            )
        self._db.execute("DELETE FROM contents WHERE bot = ?", (self._bot,))
