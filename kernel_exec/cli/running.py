"""`kernel-exec run` and `kernel-exec demo`."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, get_args

import typer

from kernel_exec.cli.following import follow
from kernel_exec.cli.terminal import out, run_to_end, working
from kernel_exec.runtime import open_runtime
from kernel_exec.sessions.files import FileRun, Step, execute_file
from kernel_exec.sessions.notebook import Format, export, session_notebook
from kernel_exec.sessions.session import Session
from kernel_exec.settings import Settings, load_settings

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


def run(
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, resolve_path=True, help="A .py or .ipynb file."),
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="sys.argv of a .py file; options come after --.")
    ] = None,
    environment: Annotated[
        str | None, typer.Option(help="Environment to run it in.", show_default="the default one")
    ] = None,
    timeout_seconds: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Interrupt the script, or each cell, after.",
            show_default="setting timeout_seconds",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, resolve_path=True, help="Leave the session here, as .ipynb, .py or .html."
        ),
    ] = None,
) -> None:
    """Run a script or a notebook in a session of its own, with its output on the terminal.

    The code cells of a notebook run one by one until one raises. The exit code is 1 when the code raised
    or ran into its timeout.
    """
    if output is not None and output.suffix.removeprefix(".") not in get_args(Format):
        raise typer.BadParameter(f"{output.name} must end in .ipynb, .py or .html.", param_hint="--output")
    work = _run(load_settings(), file, arguments or (), environment, timeout_seconds, output)
    if not run_to_end(work).complete:
        raise typer.Exit(1)


async def _run(
    settings: Settings,
    file: Path,
    arguments: Sequence[str],
    environment: str | None,
    timeout_seconds: float | None,
    output: Path | None,
) -> FileRun:
    async with open_runtime(settings) as runtime:
        name = environment or settings.default_environment
        with working("Starting a kernel") as tell:
            await runtime.environments.ensure(name, on_progress=tell)
            session = await runtime.sessions.open(environment=name)
        try:
            return await _executed(session, file, arguments, timeout_seconds)
        finally:
            if output is not None:
                requirements = (await runtime.environments.export(name)).splitlines()
                notebook = await session_notebook(runtime.history, session.record, requirements=requirements)
                await export(notebook, output.name, output.parent)


async def _executed(
    session: Session, file: Path, arguments: Sequence[str], timeout_seconds: float | None
) -> FileRun:
    """Run the file and show what it puts out; however this is left, the file does not go on running."""
    steps: asyncio.Queue[Step | None] = asyncio.Queue()
    work = asyncio.create_task(
        execute_file(
            session,
            file,
            arguments=arguments,
            timeout_seconds=timeout_seconds,
            allow_stdin=True,
            on_step=steps.put_nowait,
        )
    )
    work.add_done_callback(lambda _: steps.put_nowait(None))
    try:
        while (step := await steps.get()) is not None:
            await follow(session, step.ongoing)
    except BaseException:
        work.cancel()
        await asyncio.wait({work})
        raise
    return await work
