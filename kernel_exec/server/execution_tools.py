"""Tools that run code and read what came of it."""

from typing import Annotated

import anyio
from mcp.types import CallToolResult, InputRequiredResult, ToolAnnotations
from pydantic import Field

from kernel_exec.errors import NotWaitingForInput
from kernel_exec.server import elicitation
from kernel_exec.server.arguments import (
    Code,
    ExecutionId,
    Inputs,
    MaxChars,
    OptionalEnvironment,
    SessionName,
    TimeoutSeconds,
    WaitSeconds,
)
from kernel_exec.server.boundary import KernelExecServer
from kernel_exec.server.calls import ToolContext, attend, open_session, principal, runtime, show
from kernel_exec.sessions.ongoing import OngoingExecution
from kernel_exec.sessions.session import Session
from kernel_exec.sessions.sessions import DEFAULT_SESSION

__all__ = ["add_execution_tools"]

RUNS_CODE = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True
)
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
# Claude Code clips larger results unless the tool says that they are meant.
META = {"anthropic/maxResultSizeChars": 500_000}


def add_execution_tools(server: KernelExecServer) -> None:
    """Register the tools of this module."""

    @server.tool(structured_output=False, annotations=RUNS_CODE, meta=META)
    async def execute_code(
        code: Code,
        ctx: ToolContext,
        session: SessionName = DEFAULT_SESSION,
        environment: OptionalEnvironment = None,
        timeout_seconds: TimeoutSeconds = None,
        wait_seconds: WaitSeconds = None,
        inputs: Inputs = [],  # noqa: B006 - never changed; a None would show in the schema
        max_chars: MaxChars = None,
    ) -> CallToolResult | InputRequiredResult:
        """Run Python code in a session (a Jupyter kernel). Variables, imports and files persist between
        calls. Shows stdout, stderr, the last expression's value, images and the traceback.

        The session opens on first use, with nothing to set up. After wait_seconds (default 50) the reply
        says "running" and the code goes on: call get_execution for the rest. After timeout_seconds
        (default 600) the code is interrupted. Output past 10,000 characters is clipped in the middle; the
        marker names the call for the rest. Install packages with install_packages, not with pip.
        """
        owner = runtime(ctx)
        if ctx.request_state is not None:
            return await _answered(ctx, ctx.request_state, wait_seconds, max_chars)
        opened = await open_session(ctx, session, environment)
        ongoing = opened.submit(code, timeout_seconds=timeout_seconds, inputs=inputs)
        try:
            return await _reply(ctx, opened, ongoing, wait_seconds, max_chars)
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(owner.settings.interrupt_grace_seconds, shield=True):
                await opened.cancel(ongoing)
            raise

    @server.tool(structured_output=False, annotations=READS, meta=META)
    async def get_execution(
        execution: ExecutionId,
        ctx: ToolContext,
        wait_seconds: Annotated[
            float, Field(ge=0, description="Wait this long for its end; the answer comes the moment it ends")
        ] = 0,
        offset: Annotated[int, Field(ge=0, description="Show its output from this character on")] = 0,
        max_chars: MaxChars = None,
    ) -> CallToolResult:
        """Status and output of an execution: one that still runs, or the rest of a clipped output.

        Results stay available after the call or the client that asked for them is gone.
        """
        owner = runtime(ctx)
        found = owner.sessions.find(execution, principal())
        if found is not None:
            await attend(ctx, *found, min(wait_seconds, owner.settings.wait_seconds))
        return await show(ctx, owner.sessions.execution(execution, principal()), max_chars, offset)

    @server.tool(structured_output=False, annotations=RUNS_CODE, meta=META)
    async def send_input(
        execution: ExecutionId,
        text: Annotated[str, Field(description="The line to give to input(), without a newline")],
        ctx: ToolContext,
        wait_seconds: WaitSeconds = None,
        max_chars: MaxChars = None,
    ) -> CallToolResult | InputRequiredResult:
        """Answer the input() or getpass() that an execution waits in, then wait as execute_code does."""
        if ctx.request_state is not None:
            return await _answered(ctx, ctx.request_state, wait_seconds, max_chars)
        found = runtime(ctx).sessions.find(execution, principal())
        if found is None:
            raise NotWaitingForInput(
                execution, runtime(ctx).sessions.execution(execution, principal()).status
            )
        session, ongoing = found
        session.send_input(ongoing, text)
        return await _reply(ctx, session, ongoing, wait_seconds, max_chars)


async def _reply(
    ctx: ToolContext,
    session: Session,
    ongoing: OngoingExecution,
    wait_seconds: float | None,
    max_chars: int | None,
) -> CallToolResult | InputRequiredResult:
    """Wait for the execution and show it, asking the client's user for input on the way."""
    while True:
        await attend(ctx, session, ongoing, wait_seconds)
        # A password must not pass through a form (MCP specification, elicitation, security).
        if ongoing.asked is None or ongoing.asked.password or not elicitation.can_ask(ctx):
            return await show(ctx, session.snapshot(ongoing), max_chars)
        if (question := await elicitation.ask(ctx, session, ongoing)) is not None:
            return question


async def _answered(
    ctx: ToolContext, execution: str, wait_seconds: float | None, max_chars: int | None
) -> CallToolResult | InputRequiredResult:
    """Go on after the client came back with an answer: the code runs already."""
    owner = runtime(ctx)
    found = owner.sessions.find(execution, principal())
    if found is None:  # it ended meanwhile: its timeout, or a restart
        return await show(ctx, owner.sessions.execution(execution, principal()), max_chars)
    await elicitation.take_answer(ctx, *found)
    return await _reply(ctx, *found, wait_seconds, max_chars)
