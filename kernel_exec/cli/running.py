"""`kernel-exec run` and `kernel-exec demo`."""

from pathlib import Path
from typing import Annotated

import typer

from kernel_exec.cli.terminal import out, run_to_end
from kernel_exec.settings import load_settings

__all__ = ["demo", "run"]


def demo(
    offline: Annotated[
        bool, typer.Option("--offline", help="Install nothing; use data that Python itself ships.")
    ] = False,
    directory: Annotated[
        Path, typer.Option(exists=True, file_okay=False, writable=True, help="Where demo.ipynb is left.")
    ] = Path(),
) -> None:
    """See it work: an MCP client drives the real server, and the transcript is printed.

    It makes an environment, keeps data across calls, draws a plot, runs into a timeout and leaves the
    session as a notebook.
    """
    load_settings(workspace=directory)  # the server would find the same mistakes, but say so less clearly
    # Imported now, so that the other commands start in a third of the time.
    from kernel_exec.demo import run_demo

    notebook = run_to_end(run_demo(directory.resolve(), out, offline=offline))
    out.print(f"\nThe notebook of this session: [bold]{notebook}[/]", soft_wrap=True)
    out.print("Give it to an agent: claude mcp add kernel-exec -- uvx kernel-exec")


def run() -> None:
    """Run."""
