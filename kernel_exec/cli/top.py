"""`kernel-exec top`: what the sessions of all servers on the data directory use, live."""

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kernel_exec.cli.terminal import PIPE_COLUMNS, out
from kernel_exec.kernels.launch import MARKER
from kernel_exec.kernels.limits import size
from kernel_exec.kernels.monitor import Members
from kernel_exec.kernels.usage import Usage, measure
from kernel_exec.runtime import live_activity
from kernel_exec.sessions.history import History, SessionActivity
from kernel_exec.settings import load_settings

__all__ = ["top"]

COLUMNS: tuple[tuple[str, Literal["left", "right"]], ...] = (
    ("session", "left"),
    ("environment", "left"),
    ("state", "left"),
    ("CPU %", "right"),
    ("memory", "right"),
    ("processes/threads", "right"),
    ("read", "right"),
    ("written", "right"),
    ("running", "left"),
)
CODE_CHARS = 60


def top(
    interval_seconds: Annotated[float, typer.Option(min=0.1, help="Time between two measurements.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Measure once, print the table, and end.")] = False,
) -> None:
    """Show live what the sessions use, of all servers on this data directory. Ctrl-C ends it.

    CPU is in percent of one core. Memory, reads and writes are of the session's whole process tree.
    """
    settings = load_settings()
    if not (settings.home / "state.db").exists():
        out.print("No session has been opened yet.")
        return
    with closing(History(settings.home)) as history:
        board = _Board(history, settings.home)
        board.measure()
        if once or not out.is_terminal:
            time.sleep(min(interval_seconds, 1.0))
            console = out if out.is_terminal else Console(width=PIPE_COLUMNS)
            console.print(board.measure())
            return
        try:
            with Live(board.measure(), console=out, screen=True, auto_refresh=False) as live:
                while True:
                    time.sleep(interval_seconds)
                    live.update(board.measure(), refresh=True)
        except KeyboardInterrupt:
            return


class _Board:
    """Finds the processes of the sessions by the marker that the history has of them."""

    def __init__(self, history: History, home: Path) -> None:
        self._history = history
        self._home = home
        self._members = Members(MARKER)
        self._before: dict[str, Usage] = {}

    def measure(self) -> Table:
        """The table as it is now; CPU is since the measurement before."""
        members = self._members.find()
        shown = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for name, justify in COLUMNS:
            shown.add_column(name, justify=justify, no_wrap=True)
        measured: dict[str, Usage] = {}
        for session in live_activity(self._home, self._history):
            usage = measure(members.get(session.marker, ()), None)
            measured[session.marker] = usage
            shown.add_row(*map(Text, _row(session, usage, self._before.get(session.marker))))
        self._before = measured
        return shown


def _row(session: SessionActivity, usage: Usage, before: Usage | None) -> list[str]:
    state = session.status.replace("_", " ") or ("idle" if usage.processes else "no kernel")
    percent = "-"
    if before is not None and usage.at > before.at:
        used = usage.cpu_seconds - before.cpu_seconds
        percent = f"{max(0.0, 100 * used / (usage.at - before.at)):.0f}"
    running = ""
    if session.started is not None:
        code = " ".join(session.source.split())[:CODE_CHARS]
        running = f"{time.time() - session.started:.0f} s: {code}"
    waiting = f" +{session.queued} waiting" if session.queued else ""
    return [
        session.name,
        session.environment,
        state + waiting,
        percent,
        size(usage.memory_bytes),
        f"{usage.processes}/{usage.threads}",
        size(usage.read_bytes),
        size(usage.written_bytes),
        running,
    ]
