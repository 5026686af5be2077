"""Tools for files: run one in a session, and let a session leave as one."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import anyio
from mcp.types import CallToolResult, ToolAnnotations
from pydantic import Field

from kernel_exec.errors import InvalidInput
from kernel_exec.runtime import Runtime
from kernel_exec.server.arguments import (
    FilePath,
    Inputs,
    MaxChars,
    OptionalEnvironment,
    SessionName,
    TimeoutSeconds,
    WaitSeconds,
)
from kernel_exec.server.boundary import KernelExecServer
from kernel_exec.server.calls import (
    ToolContext,
    isolation_notice,
    open_session,
    principal,
    progress,
    runtime,
    text,
)
from kernel_exec.server.content import Budget, render_many
from kernel_exec.server.execution_tools import META, RUNS_CODE
from kernel_exec.server.tables import counted
from kernel_exec.sessions.archive import Archive, files_since, read_archive, restore_files, write_archive
from kernel_exec.sessions.files import FileRun, Step, execute_file
from kernel_exec.sessions.history import SessionRecord
from kernel_exec.sessions.notebook import Format, export, render, session_notebook
from kernel_exec.sessions.sessions import DEFAULT_SESSION
from kernel_exec.workspace import file_to_read, file_to_write

__all__ = ["add_notebook_tools"]


def add_notebook_tools(server: KernelExecServer) -> None:
    """Register the tools of this module."""

    @server.tool(name="execute_file", structured_output=False, annotations=RUNS_CODE, meta=META)
    async def run_file(
        path: FilePath,
        ctx: ToolContext,
        session: SessionName = DEFAULT_SESSION,
        environment: OptionalEnvironment = None,
        arguments: Annotated[list[str], Field(description="sys.argv of a .py file, without its name")] = [],  # noqa: B006
        timeout_seconds: TimeoutSeconds = None,
        wait_seconds: WaitSeconds = None,
        inputs: Inputs = [],  # noqa: B006 - never changed; a None would show in the schema
        max_chars: MaxChars = None,
    ) -> CallToolResult:
        """Run a .py or .ipynb file of the workspace in a session, or an archive of export_notebook.

        A notebook runs cell by cell and stops at the first error; the limits are for each cell. An archive
        (.zip) first rebuilds its environment and puts its files into the workspace.
        """
        owner = runtime(ctx)
        found = file_to_read(path, owner.settings.workspace)
        with tempfile.TemporaryDirectory() as temporary:
            if found.suffix == ".zip":
                archive = await asyncio.to_thread(read_archive, found)
                environment = await _rebuild(ctx, archive, environment)
                found = Path(temporary, f"{found.stem}.ipynb")
                found.write_text(archive.notebook, encoding="utf-8")
            opened = await open_session(ctx, session, environment)
            steps: list[Step] = []
            running = owner.start(
                execute_file(
                    opened,
                    found,
                    arguments=arguments,
                    timeout_seconds=timeout_seconds,
                    inputs=inputs,
                    allow_stdin=True,
                    on_step=steps.append,
                )
            )
            try:
                await _attend(ctx, running, steps, wait_seconds)
            except anyio.get_cancelled_exc_class():
                running.cancel()
                raise
        shown = [opened.snapshot(step.ongoing) for step in steps]
        notices = [await isolation_notice(ctx, execution) for execution in shown[:1]]
        summary = " ".join(filter(None, [*notices, _summary(path, running, steps)]))
        return await asyncio.to_thread(render_many, shown, Budget.of(owner.settings, max_chars), summary)

    @server.tool(
        structured_output=False, annotations=ToolAnnotations(destructive_hint=False, open_world_hint=False)
    )
    async def export_notebook(
        ctx: ToolContext,
        path: Annotated[
            str | None, Field(description="Where to, in the workspace (default: the session's name)")
        ] = None,
        session: SessionName = DEFAULT_SESSION,
        format: Annotated[
            Format | None, Field(description="Notebook, Python in percent format, or HTML (default: by path)")
        ] = None,
        include_failed: Annotated[
            bool, Field(description="With the executions that raised, timed out or were interrupted")
        ] = True,
        archive: Annotated[
            bool,
            Field(description="A .zip with the exact packages and the files that the session wrote, too"),
        ] = False,
        overwrite: Annotated[bool, Field(description="Replace a file that is there already")] = False,
    ) -> CallToolResult:
        """Write a session's history as a notebook that runs again; also of a closed session.

        It opens in JupyterLab. execute_file runs it, here or (with archive=true) on another machine.
        """
        owner = runtime(ctx)
        record = owner.sessions.record(session, principal())
        ending = "zip" if archive else format or "ipynb"
        target = file_to_write(path or f"{session}.{ending}", owner.settings.workspace)
        if target.exists() and not overwrite:
            raise InvalidInput(
                f"There is a file {path or target.name!r} already.", "Pass overwrite=true, or another path."
            )
        requirements = await _requirements(owner, record)
        notebook = await session_notebook(
            owner.history,
            record,
            include_failed=include_failed,
            requirements=requirements.splitlines(),
        )
        cells = len(notebook.cells)
        if not archive:
            written = await export(notebook, str(target), owner.settings.workspace, format=format)
            return text(f"Session {session!r}, {counted(cells, 'cell')}, is in {written}.")
        packed = await asyncio.to_thread(
            write_archive,
            target,
            render(notebook, "ipynb"),
            python=notebook.metadata["kernel_exec"]["python"],
            requirements=requirements,
            workspace=owner.settings.workspace,
            files=list(files_since(record.directory, record.opened, leave_out=[target])),
        )
        contents = f"{counted(cells, 'cell')} and {counted(len(packed.files), 'file')}"
        lines = [f"Session {session!r}, {contents}, is in {target}."]
        lines += [f"  {name}" for name in packed.files]
        lines += [f"  left out: {name}" for name in packed.left_out]
        return text("\n".join(lines))


async def _attend(
    ctx: ToolContext, running: "asyncio.Task[FileRun]", steps: Sequence[Step], wait_seconds: float | None
) -> None:
    """Wait until the file is done or one of its executions asks for input, or the call's time is up."""
    settings = runtime(ctx).settings
    limit = settings.wait_seconds if wait_seconds is None else wait_seconds
    async with progress(ctx) as tell:
        with anyio.move_on_after(limit):
            while not running.done():
                tell(f"cell {steps[-1].number} of {steps[-1].total}" if steps else "starting")
                if not steps:
                    await asyncio.wait({running}, timeout=0.05)
                    continue
                last = steps[-1].ongoing
                await last.wait()
                if last.asked is not None:
                    return
                await asyncio.sleep(0)  # the task submits the next one
    if running.done():
        running.result()


def _summary(path: str, running: "asyncio.Task[FileRun]", steps: Sequence[Step]) -> str:
    if not steps:
        return f"{path} has no code." if running.done() else f"{path} has not begun."
    last, total = steps[-1].number, steps[-1].total
    if not running.done():
        return f"{path}: cell {last} of {total} runs; the rest follows by itself."
    run = running.result()
    if not run.complete:
        return f"{path}: stopped after {len(run.executions)} of {counted(total, 'cell')}."
    return f"{path}: all {total} cells ran." if total > 1 else ""


async def _requirements(owner: Runtime, record: SessionRecord) -> str:
    """The exact packages of the session's environment; nothing if that is gone."""
    if record.environment not in {one.name for one in await owner.environments.list() if not one.broken}:
        return ""
    return await owner.environments.export(record.environment)


async def _rebuild(ctx: ToolContext, archive: Archive, environment: str | None) -> str:
    """Make the archive's environment, unless one of that name is there, and unpack its files."""
    owner = runtime(ctx)
    name = environment or archive.environment
    if name not in {one.name for one in await owner.environments.list()}:
        async with progress(ctx) as tell:
            await owner.environments.create(
                name,
                python=".".join(archive.python.split(".")[:2]),
                packages=archive.requirements,
                description=f"rebuilt from {archive.path.name}",
                on_progress=tell,
            )
    await asyncio.to_thread(restore_files, archive, owner.settings.workspace)
    return name
