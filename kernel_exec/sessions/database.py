"""The SQLite database of one data directory; several processes may have it open."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Database"]

BUSY_SECONDS = 10.0
SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    principal TEXT NOT NULL,
    environment TEXT NOT NULL,
    directory TEXT NOT NULL,
    server TEXT NOT NULL,              -- the process that owns it
    kernel_info TEXT NOT NULL,         -- JSON: content of kernel_info_reply
    marker TEXT NOT NULL DEFAULT '',   -- by which the processes of its kernel can be told
    opened REAL NOT NULL,              -- seconds since the epoch, as all times here
    closed REAL
);
CREATE TABLE executions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL REFERENCES sessions,
    kernel INTEGER NOT NULL,           -- which kernel of the session, counted from 1
    source TEXT NOT NULL,
    status TEXT NOT NULL,
    count INTEGER,
    queued REAL NOT NULL,
    started REAL,
    ended REAL,
    note TEXT NOT NULL DEFAULT '',
    memory_bytes INTEGER,              -- of the session, after it
    cpu_seconds REAL,
    peak_memory_bytes INTEGER,
    read_bytes INTEGER,
    written_bytes INTEGER,
    kept_bytes INTEGER NOT NULL DEFAULT 0,
    dropped_bytes INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX executions_of_session ON executions (session, id);
CREATE TABLE outputs (
    execution INTEGER NOT NULL REFERENCES executions,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL,                -- stream, display_data, execute_result, error
    name TEXT NOT NULL DEFAULT '',     -- stdout or stderr
    display_id TEXT,
    body TEXT,                         -- a stream's text, else JSON; NULL when it is in a file
    size_bytes INTEGER NOT NULL,
    PRIMARY KEY (execution, position)
) WITHOUT ROWID;
CREATE INDEX outputs_by_display_id ON outputs (display_id) WHERE display_id IS NOT NULL;
CREATE TABLE widgets (
    session INTEGER NOT NULL REFERENCES sessions,
    model TEXT NOT NULL,
    body TEXT NOT NULL,                -- JSON: state, buffers
    PRIMARY KEY (session, model)
) WITHOUT ROWID;
"""


class Database:
    """A connection. Statements take well under a millisecond and never wait for the disk (WAL,
    `synchronous=NORMAL`: after a power failure the last moments may be missing, the rest is whole), so
    they run in the event loop.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
        with self.transaction():
            version = self.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                for statement in SCHEMA.split(";\n"):
                    self.execute(statement)
                self.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def execute(self, statement: str, parameters: tuple[object, ...] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self._connection.execute(statement, parameters)

    def insert(self, statement: str, parameters: tuple[object, ...]) -> int:
        """Run an INSERT; returns the new row's id."""
        row = self._connection.execute(statement, parameters).lastrowid
        assert row is not None
        return row

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One write transaction; inside another one, a part of that."""
        if self._connection.in_transaction:
            yield
            return
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
