"""What all commands share: the two consoles, tables, progress, errors in two lines, and the event loop."""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from kernel_exec.errors import KernelExecError, SettingsError

__all__ = ["Commands", "err", "out", "run_to_end", "show_error", "table", "working"]

PIPE_COLUMNS = 400  # a reader that is a program gets every row in one line

Result = TypeVar("Result")

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class Commands(TyperGroup):
    """A group of commands in which an error of ours ends as two lines and an exit code, not a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Exit code 2: the settings are wrong; 1: the command failed."""
        try:
            return super().invoke(ctx)
        except KernelExecError as error:
            show_error(error)
            raise typer.Exit(2 if isinstance(error, SettingsError) else 1) from error


def show_error(error: KernelExecError) -> None:
    """Say on standard error what is wrong and what to do next."""
    err.print(Text(error.message.rstrip(), style="red"), soft_wrap=True)
    if error.hint:
        err.print(Text(error.hint), soft_wrap=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Print a table. Columns whose name begins with `>` are aligned to the right."""
    shown = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        shown.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    for row in rows:
        shown.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    console = out if out.is_terminal else Console(width=PIPE_COLUMNS)
    console.print(shown)


@contextmanager
def working(doing: str) -> Iterator[Callable[[str], None]]:
    """Show on standard error, if that is a terminal, what goes on and since when; gone afterwards."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(doing)
        yield lambda line: bar.update(task, description=line[: max(20, err.width - 15)])


def run_to_end(work: Coroutine[Any, Any, Result]) -> Result:
    """Run *work*; a signal cancels it, so that whatever it started is ended before we leave."""
    caught: list[int] = []

    async def main() -> Result:
        task = asyncio.current_task()
        assert task is not None

        def leave(number: int) -> None:
            caught.append(number)
            task.cancel()

        for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            with suppress(NotImplementedError):  # Windows
                asyncio.get_running_loop().add_signal_handler(number, leave, number)
        return await work

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        raise typer.Exit(128 + caught[0] if caught else 1) from None
