"""Tools that act on sessions as a whole."""

from typing import Annotated

from mcp.types import CallToolResult, ToolAnnotations
from pydantic import BaseModel

from kernel_exec.server.arguments import SessionName
from kernel_exec.server.boundary import KernelExecServer
from kernel_exec.server.calls import ToolContext, principal, runtime, show, structured, text
from kernel_exec.server.tables import mebibytes, seconds, table
from kernel_exec.sessions.session import SessionState
from kernel_exec.sessions.sessions import DEFAULT_SESSION

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
                mebibytes(one.memory_bytes),
                seconds(one.cpu_seconds),
                seconds(one.idle_seconds),
                str(one.queue),
            )
            for one in states
        ]
        shown = table(("session", "environment", "state", "memory", "CPU", "idle", "queue"), rows)
        return structured(shown, SessionList(sessions=states))
