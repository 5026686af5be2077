"""The outputs of executions, written down as they arrive."""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kernel_exec.sessions.database import Database
from kernel_exec.sessions.outputs import DisplayData, Error, ExecuteResult, Output, Stream, Text

__all__ = ["OutputLog"]

# Larger outputs go to files.
ROW_LIMIT_BYTES = 64 << 10


class OutputLog:
    """Outputs by execution. The log *is* the list of outputs: nothing is kept in memory besides, and
    what a reply shows is read from here. Large outputs are in files in *directory*.
    """

    def __init__(self, database: Database, directory: Path) -> None:
        self._database = database
        self._directory = directory
        directory.mkdir(exist_ok=True, mode=0o700)

    def read(self, execution: int) -> Sequence[Output]:
        """The outputs of an execution so far, in order of arrival."""
        rows = self._database.execute(
            "SELECT * FROM outputs WHERE execution = ? ORDER BY position", (execution,)
        )
        return tuple(self._output(row) for row in rows)

    def add_stream(self, execution: int, name: str, text: str, limit_bytes: int) -> None:
        """Append text to the last output if that is the same stream, else begin a new one.

        Past *limit_bytes* per execution text is counted and not kept.
        """
        data = encode(text)
        with self._database.transaction():
            size, room = len(data), self._room(execution, limit_bytes)
            if size > room:
                data = data[:room].decode(errors="ignore").encode()
            self._count(execution, min(size, room), size - len(data))
            if not data:
                return
            last = self._last(execution)
            if last is None or last["kind"] != "stream" or last["name"] != name:
                self._insert(execution, "stream", data, name=name)
                return
            size = last["size_bytes"] + len(data)
            position = last["position"]
            if last["body"] is not None and size <= ROW_LIMIT_BYTES:
                body = last["body"] + data.decode()
            else:
                body, path = None, self._path(execution, position)
                if last["body"] is not None:
                    _write(path, last["body"].encode())
                with path.open("ab") as file:
                    file.write(data)
            self._database.execute(
                "UPDATE outputs SET body = ?, size_bytes = ? WHERE execution = ? AND position = ?",
                (body, size, execution, position),
            )

    def add(self, execution: int, output: DisplayData | ExecuteResult | Error, limit_bytes: int) -> None:
        """Append an output; past *limit_bytes* per execution it is counted and not kept, but for errors."""
        data = _encoded(output)
        with self._database.transaction():
            if len(data) > self._room(execution, limit_bytes) and not isinstance(output, Error):
                self._count(execution, 0, len(data))
            else:
                self._count(execution, len(data), 0)
                display_id = output.display_id if isinstance(output, DisplayData) else None
                self._insert(execution, _kind(output), data, display_id=display_id)

    def update_display(self, session: int, output: DisplayData) -> None:
        """Give every output of the session that has this display id new content, as a notebook does."""
        data = _encoded(output)
        with self._database.transaction():
            rows = self._database.execute(
                "SELECT execution, position FROM outputs JOIN executions ON executions.id = execution"
                " WHERE display_id = ? AND session = ?",
                (output.display_id, session),
            ).fetchall()
            for row in rows:
                self._database.execute(
                    "UPDATE outputs SET body = ?, size_bytes = ? WHERE execution = ? AND position = ?",
                    (self._body(row["execution"], row["position"], data), len(data), *row),
                )

    def clear(self, execution: int) -> None:
        """Forget the outputs of an execution so far, as `clear_output` asks."""
        with self._database.transaction():
            self._database.execute("DELETE FROM outputs WHERE execution = ?", (execution,))
            self._database.execute("UPDATE executions SET kept_bytes = 0 WHERE id = ?", (execution,))
            for path in self._path(execution, 0).parent.glob("*"):
                path.unlink()

    def last_line(self, execution: int) -> str:
        """The end of the last stream so far, for a glance at what the code is doing."""
        row = self._last(execution)
        if row is None or row["kind"] != "stream":
            return ""
        if row["body"] is not None:
            text: str = row["body"]
        else:
            with self._path(execution, row["position"]).open("rb") as file:
                file.seek(max(0, row["size_bytes"] - 1000))
                text = file.read().decode(errors="replace")
        lines = [line for line in text.replace("\r", "\n").splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def _room(self, execution: int, limit_bytes: int) -> int:
        (kept,) = self._database.execute(
            "SELECT kept_bytes FROM executions WHERE id = ?", (execution,)
        ).fetchone()
        return max(0, limit_bytes - int(kept))

    def _count(self, execution: int, kept: int, dropped: int) -> None:
        self._database.execute(
            "UPDATE executions SET kept_bytes = kept_bytes + ?, dropped_bytes = dropped_bytes + ?"
            " WHERE id = ?",
            (kept, dropped, execution),
        )

    def _last(self, execution: int) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._database.execute(
            "SELECT * FROM outputs WHERE execution = ? ORDER BY position DESC LIMIT 1", (execution,)
        ).fetchone()
        return row

    def _insert(
        self, execution: int, kind: str, data: bytes, *, name: str = "", display_id: str | None = None
    ) -> None:
        last = self._last(execution)
        position = 0 if last is None else last["position"] + 1
        self._database.execute(
            "INSERT INTO outputs (execution, position, kind, name, display_id, body, size_bytes)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (execution, position, kind, name, display_id, self._body(execution, position, data), len(data)),
        )

    def _body(self, execution: int, position: int, data: bytes) -> str | None:
        """What goes into the row: the data, or None after they were written to their file."""
        if len(data) <= ROW_LIMIT_BYTES:
            return data.decode()
        _write(self._path(execution, position), data)
        return None

    def _output(self, row: sqlite3.Row) -> Output:
        path = None if row["body"] is not None else self._path(row["execution"], row["position"])
        text = Text(row["body"] or "", path, row["size_bytes"])
        if row["kind"] == "stream":
            return Stream(row["name"], text)
        fields = json.loads(str(text))
        match row["kind"]:
            case "error":
                return Error(fields["name"], fields["value"], tuple(fields["traceback"]))
            case "execute_result":
                return ExecuteResult(fields["data"], fields["count"], fields["metadata"])
            case _:
                return DisplayData(fields["data"], fields["metadata"], row["display_id"])

    def _path(self, execution: int, position: int) -> Path:
        return self._directory / f"e{execution}" / str(position)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True, mode=0o700)
    path.write_bytes(data)


def _kind(output: DisplayData | ExecuteResult | Error) -> str:
    match output:
        case DisplayData():
            return "display_data"
        case ExecuteResult():
            return "execute_result"
        case Error():
            return "error"


def _fields(output: DisplayData | ExecuteResult | Error) -> dict[str, Any]:
    match output:
        case Error():
            return {"name": output.name, "value": output.value, "traceback": output.traceback}
        case ExecuteResult():
            return {"data": output.data, "metadata": output.metadata, "count": output.count}
        case DisplayData():
            return {"data": output.data, "metadata": output.metadata}


def _encoded(output: DisplayData | ExecuteResult | Error) -> bytes:
    return encode(json.dumps(_fields(output), ensure_ascii=False))


def encode(text: str) -> bytes:
    """UTF-8, with U+FFFD for the lone surrogates that it cannot express."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()
