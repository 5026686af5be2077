"""Tools that act on sessions as a whole."""

from typing import Annotated

from mcp.types import CallToolResult, ToolAnnotations
from pydantic import BaseModel, Field

from kernel_exec.server.arguments import SessionName
from kernel_exec.server.boundary import KernelExecServer
from kernel_exec.server.calls import ToolContext, principal, runtime, show, structured, text
from kernel_exec.server.tables import NONE, mebibytes, seconds, table
from kernel_exec.sessions.inspection import Detail, Variable, Variables, describe, list_variables
from kernel_exec.sessions.sessions import DEFAULT_SESSION
from kernel_exec.sessions.state import SessionState

__all__ = ["SessionList", "add_session_tools"]

CHANGES = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
)
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)


class SessionList(BaseModel):
    """The open sessions."""

    sessions: list[SessionState]


def add_session_tools(server: KernelExecServer) -> None:
    """Register the tools of this module."""

    @server.tool(structured_output=False, annotations=CHANGES)
    async def interrupt_session(ctx: ToolContext, session: SessionName = DEFAULT_SESSION) -> CallToolResult:
        """Stop what runs in a session, as Ctrl-C does. Variables are kept; what waits runs next."""
        opened = runtime(ctx).sessions.get(session, principal())
        ongoing = await opened.interrupt()
        if ongoing is None:
            return text(f"Nothing runs in session {session!r}.")
        if not ongoing.finished.is_set():
            return text(
                f"{ongoing.id} did not react to the interrupt and still runs. Call interrupt_session "
                f"once more, or restart_session({session!r}), which loses the variables."
            )
        result = await show(ctx, opened.snapshot(ongoing))
        return result.model_copy(update={"is_error": False})  # the call did what it should

    @server.tool(structured_output=False, annotations=CHANGES)
    async def restart_session(ctx: ToolContext, session: SessionName = DEFAULT_SESSION) -> CallToolResult:
        """Give a session a new kernel: variables are lost, the session and its history stay.

        Needed after installing another version of a package that is already imported.
        """
        opened = runtime(ctx).sessions.get(session, principal())
        await opened.restart()
        return text(f"Session {session!r} has a new kernel. Its variables are gone, its history is kept.")

    @server.tool(structured_output=False, annotations=CHANGES)
    async def close_session(ctx: ToolContext, session: SessionName = DEFAULT_SESSION) -> CallToolResult:
        """Shut a session's kernel down and free its memory. Its executions stay readable."""
        await runtime(ctx).sessions.close(session, principal())
        return text(
            f"Session {session!r} is closed. Its executions can still be read and exported; "
            "execute_code opens a new session of that name."
        )

    @server.tool(structured_output=False, annotations=READS)
    async def inspect_session(
        ctx: ToolContext,
        session: SessionName = DEFAULT_SESSION,
        name: Annotated[
            str | None,
            Field(description="Show this object in detail; a dotted name works: numpy.linalg.norm"),
        ] = None,
    ) -> CallToolResult:
        """Variables of a session with type, shape, size and a preview; or one object's signature and docs.

        Runs none of the user's code, and works while the session is busy.
        """
        opened = runtime(ctx).sessions.get(session, principal())
        if name is not None:
            return text(_detail(await describe(opened, name)))
        return text(_variables(session, await list_variables(opened)))

    @server.tool(annotations=READS)
    async def list_sessions(ctx: ToolContext) -> Annotated[CallToolResult, SessionList]:
        """Open sessions with environment, state, memory, CPU, queue and idle time."""
        states = [await session.state() for session in runtime(ctx).sessions.list(principal())]
        if not states:
            return structured("No open sessions. execute_code opens one.", SessionList(sessions=[]))
        rows = [
            (
                one.name,
                one.environment,
                one.state,
                f"{mebibytes(one.memory_bytes)} of {mebibytes(one.memory_limit_bytes)}",
                seconds(one.cpu_seconds),
                NONE if one.processes is None else f"{one.processes}/{one.threads}",
                seconds(one.idle_seconds),
                str(one.queue),
            )
            for one in states
        ]
        shown = table(
            ("session", "environment", "state", "memory", "CPU", "processes/threads", "idle", "queue"), rows
        )
        return structured(shown, SessionList(sessions=states))


def _variables(session: str, found: Variables) -> str:
    """The namespace, for a reader."""
    blocks = []
    if found.variables:
        rows = [(one.name, one.type, _extent(one), _size(one), one.preview) for one in found.variables]
        blocks.append(table(("variable", "type", "extent", "size", "preview"), rows))
    for kind, names in (
        ("functions", found.functions),
        ("classes", found.classes),
        ("modules", found.modules),
    ):
        if names:
            blocks.append(f"{kind}: {', '.join(names)}")
    if found.omitted:
        blocks.append(f"{found.omitted} more names are not shown.")
    return "\n".join(blocks) or f"Session {session!r} has no variables."


def _detail(found: Detail) -> str:
    """One object, for a reader."""
    one = found.variable
    lines = [f"{one.name}: {one.type} {_extent(one)}".rstrip()]
    if found.version:
        lines.append(f"version {found.version}")
    if found.file:
        lines.append(f"file {found.file}")
    if found.signature:
        lines.append(f"{one.name}{found.signature}")
    if one.preview:
        lines.append(one.preview)
    if found.columns:
        lines.append(table(("column", "dtype"), [(column.name, column.dtype) for column in found.columns]))
    if found.documentation:
        lines += ["", found.documentation]
    if found.members:
        lines += ["", f"members: {', '.join(found.members)}"]
    return "\n".join(lines)


def _extent(one: Variable) -> str:
    if one.shape is not None:
        return " x ".join(map(str, one.shape))
    return "" if one.length is None else str(one.length)


def _size(one: Variable) -> str:
    return "" if one.size_bytes is None else f"{one.size_bytes:,} B"
