"""What was executed, and how it ended, kept in the data directory's database."""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel_exec.errors import ExecutionNotFound
from kernel_exec.kernels import Spent
from kernel_exec.sessions.database import Database
from kernel_exec.sessions.execution import FINAL, Execution, Status
from kernel_exec.sessions.output_log import OutputLog
from kernel_exec.sessions.widgets import WidgetLog

__all__ = ["History", "SessionActivity", "SessionRecord", "Total"]


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session, open or closed, as the history knows it."""

    id: int
    name: str
    environment: str
    directory: Path
    kernel_info: Mapping[str, Any]
    opened: float


@dataclass(frozen=True, slots=True)
class SessionActivity:
    """A session that was not closed, of any server: the *marker* of its processes, what runs (its
    *status* and *source*, empty when nothing does) and since when, and how much waits.
    """

    name: str
    environment: str
    server: str
    marker: str
    status: str
    source: str
    started: float | None
    queued: int


@dataclass(frozen=True, slots=True)
class Total:
    """Executions of one final status."""

    status: Status
    count: int
    seconds: float
    cpu_seconds: float


class History:
    """Sessions and their executions, as they were; open or closed."""

    def __init__(self, home: Path) -> None:
        self._database = Database(home / "state.db")
        self.outputs = OutputLog(self._database, home / "outputs")
        self.widgets = WidgetLog(self._database)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    # Sessions

    def open_session(
        self,
        name: str,
        principal: str,
        environment: str,
        directory: Path,
        server: str,
        kernel_info: Mapping[str, Any],
    ) -> SessionRecord:
        """Begin a session's history. Names may repeat: a later session of a name is another one."""
        info = {key: kernel_info[key] for key in ("language_info", "implementation") if key in kernel_info}
        opened = time.time()
        session = self._database.insert(
            "INSERT INTO sessions (name, principal, environment, directory, server, kernel_info, opened)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (name, principal, environment, str(directory), server, json.dumps(info), opened),
        )
        return SessionRecord(session, name, environment, directory, info, opened)

    def set_marker(self, session: int, marker: str) -> None:
        """Note by which marker the processes of the session's kernel can be told."""
        self._database.execute("UPDATE sessions SET marker = ? WHERE id = ?", (marker, session))

    def close_session(self, session: int) -> None:
        """Note that the session is closed; its history stays."""
        self._database.execute("UPDATE sessions SET closed = ? WHERE id = ?", (time.time(), session))

    def open_sessions(self) -> list[tuple[str, str, str]]:
        """Name, environment and server of every session that was not closed, whosever it is."""
        rows = self._database.execute("SELECT name, environment, server FROM sessions WHERE closed IS NULL")
        return [tuple(row) for row in rows]

    def latest_session(self, name: str, principal: str) -> SessionRecord | None:
        """The session of this name that was opened last, open or closed."""
        row = self._database.execute(
            "SELECT * FROM sessions WHERE name = ? AND principal = ? ORDER BY id DESC LIMIT 1",
            (name, principal),
        ).fetchone()
        if row is None:
            return None
        return SessionRecord(
            row["id"],
            row["name"],
            row["environment"],
            Path(row["directory"]),
            json.loads(row["kernel_info"]),
            row["opened"],
        )

    def end_sessions_of(self, alive: Callable[[str], bool]) -> None:
        """Close what processes left open that are gone: their executions ended as `died`."""
        rows = self._database.execute("SELECT id, server FROM sessions WHERE closed IS NULL").fetchall()
        for row in rows:
            if not alive(row["server"]):
                with self._database.transaction():
                    self._database.execute(
                        "UPDATE executions SET status = 'died', ended = coalesce(started, queued),"
                        " note = 'The server process ended while this was under way.'"
                        " WHERE session = ? AND status IN ('queued', 'running', 'waiting_for_input')",
                        (row["id"],),
                    )
                    self.close_session(row["id"])

    def activity(self) -> list[SessionActivity]:
        """What the sessions of all servers do, oldest first; some of these servers may be gone."""
        rows = self._database.execute(
            "SELECT name, environment, server, marker, coalesce(running.status, ''),"
            " coalesce(running.source, ''), running.started, (SELECT count(*) FROM executions"
            " WHERE session = sessions.id AND status = 'queued') FROM sessions"
            " LEFT JOIN executions AS running ON running.session = sessions.id"
            " AND running.status IN ('running', 'waiting_for_input')"
            " WHERE closed IS NULL ORDER BY sessions.id"
        )
        return [SessionActivity(*row) for row in rows]

    # Executions

    def totals(self, server: str) -> list[Total]:
        """The executions of one server that are over, by status."""
        rows = self._database.execute(
            "SELECT status, count(*), coalesce(sum(ended - started), 0), coalesce(sum(cpu_seconds), 0)"
            " FROM executions JOIN sessions ON sessions.id = session"
            " WHERE server = ? AND executions.ended IS NOT NULL GROUP BY status",
            (server,),
        )
        return [Total(*row) for row in rows]

    def add_execution(self, session: int, kernel: int, source: str) -> int:
        """Record a queued execution; returns its number, unique in the data directory."""
        return self._database.insert(
            "INSERT INTO executions (session, kernel, source, status, queued) VALUES (?, ?, ?, 'queued', ?)",
            (session, kernel, source, time.time()),
        )

    def start(self, execution: int, kernel: int) -> None:
        """Note that the execution runs now, in this kernel of its session."""
        self._database.execute(
            "UPDATE executions SET status = 'running', kernel = ?, started = ? WHERE id = ?",
            (kernel, time.time(), execution),
        )

    def set_status(self, execution: int, status: Status) -> None:
        """Note a status that is not final."""
        self._database.execute("UPDATE executions SET status = ? WHERE id = ?", (status, execution))

    def set_count(self, execution: int, count: int) -> None:
        """Note the kernel's own number."""
        self._database.execute("UPDATE executions SET count = ? WHERE id = ?", (count, execution))

    def finish(
        self,
        execution: int,
        status: Status,
        note: str = "",
        memory_bytes: int | None = None,
        spent: Spent | None = None,
    ) -> None:
        """Record the final status, the memory of the session after it, and what it took."""
        assert status in FINAL
        spent = spent or Spent()
        self._database.execute(
            "UPDATE executions SET status = ?, note = ?, memory_bytes = ?, ended = ?, cpu_seconds = ?,"
            " peak_memory_bytes = ?, read_bytes = ?, written_bytes = ? WHERE id = ?",
            (
                status,
                note,
                memory_bytes,
                time.time(),
                spent.cpu_seconds,
                spent.peak_memory_bytes,
                spent.read_bytes,
                spent.written_bytes,
                execution,
            ),
        )

    def execution(self, execution: str, principal: str) -> Execution:
        """Read an execution with its outputs, whatever its status.

        Raises: ExecutionNotFound, with the recent ones of this principal.
        """
        number = execution.removeprefix("e")
        row = None
        if number.isdecimal() and len(number) < 19:
            row = self._select(
                "executions.id = ? AND sessions.principal = ?", int(number), principal
            ).fetchone()
        if row is None:
            recent = self._select("sessions.principal = ? ORDER BY executions.id DESC LIMIT 10", principal)
            raise ExecutionNotFound(execution, (f"e{row['id']}" for row in recent))
        return self._execution(row)

    def executions(self, session: int) -> Iterator[Execution]:
        """All executions of a session, oldest first."""
        for row in self._select("executions.session = ? ORDER BY executions.id", session).fetchall():
            yield self._execution(row)

    def lost_with(self, session: int, kernel: int) -> int:
        """How many executions left their variables in this kernel of the session."""
        (lost,) = self._database.execute(
            "SELECT count(*) FROM executions WHERE session = ? AND kernel = ? AND started IS NOT NULL",
            (session, kernel),
        ).fetchone()
        return int(lost)

    def _select(self, where: str, *parameters: object) -> sqlite3.Cursor:
        return self._database.execute(
            "SELECT executions.*, sessions.name AS session_name, environment FROM executions"  # noqa: S608
            f" JOIN sessions ON sessions.id = executions.session WHERE {where}",
            parameters,
        )

    def _execution(self, row: sqlite3.Row) -> Execution:
        started, ended = row["started"], row["ended"]
        elapsed = (ended or time.time()) - started if started is not None else 0.0
        return Execution(
            id=f"e{row['id']}",
            session=row["session_name"],
            environment=row["environment"],
            source=row["source"],
            status=row["status"],
            count=row["count"],
            outputs=self.outputs.read(row["id"]),
            elapsed_seconds=max(elapsed, 0.0),
            note=row["note"],
            memory_bytes=row["memory_bytes"],
            dropped_bytes=row["dropped_bytes"],
            spent=Spent(
                row["cpu_seconds"], row["peak_memory_bytes"], row["read_bytes"], row["written_bytes"]
            ),
        )
