"""What every tool call needs: who calls, the runtime, progress, and the wait for an execution."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel

from kernel_exec.runtime import Runtime
from kernel_exec.server.content import Budget, render
from kernel_exec.server.content.terminal import show as plain
from kernel_exec.sessions.execution import Execution
from kernel_exec.sessions.ongoing import OngoingExecution
from kernel_exec.sessions.session import Session
from kernel_exec.sessions.sessions import LOCAL

__all__ = [
    "ToolContext",
    "attend",
    "isolation_notice",
    "open_session",
    "principal",
    "progress",
    "runtime",
    "show",
    "structured",
    "text",
]

ToolContext = Context[Runtime]


def runtime(ctx: ToolContext) -> Runtime:
    """The runtime that this server's lifespan opened."""
    return ctx.request_context.lifespan_context


def principal() -> str:
    """Who calls: the subject of the bearer token, or the local user."""
    token = get_access_token()
    return (token.subject if token is not None else None) or LOCAL


def text(words: str) -> CallToolResult:
    """A reply of text only."""
    return CallToolResult(content=[TextContent(type="text", text=words)])


def structured(words: str, model: BaseModel) -> CallToolResult:
    """A reply for people and, with the same content, for programs."""
    return CallToolResult(
        content=[TextContent(type="text", text=words)], structured_content=model.model_dump(mode="json")
    )


async def show(
    ctx: ToolContext, execution: Execution, max_chars: int | None = None, offset: int = 0
) -> CallToolResult:
    """The execution as content. In a thread: it reads files and draws images."""
    budget = Budget.of(runtime(ctx).settings, max_chars)
    notice = await isolation_notice(ctx, execution)
    return await asyncio.to_thread(render, execution, budget, offset=offset, notice=notice)


async def isolation_notice(ctx: ToolContext, execution: Execution) -> str:
    """What the first reply of a kernel tells about what its code can and cannot do."""
    if execution.count != 1:
        return ""
    return (await runtime(ctx).kernels.isolation(execution.environment)).notice


@asynccontextmanager
async def progress(ctx: ToolContext) -> AsyncIterator[Callable[[str], None]]:
    """Take lines of progress and pass them on, at least one every `progress_seconds`."""
    every = runtime(ctx).settings.progress_seconds
    begun = time.monotonic()
    last = "working"
    news = asyncio.Event()

    def tell(line: str) -> None:
        nonlocal last
        last = line
        news.set()

    async def report() -> None:
        while True:
            with anyio.move_on_after(every):
                await news.wait()
            news.clear()
            await ctx.report_progress(time.monotonic() - begun, None, last)

    # Not a task group: it would wrap what the block raises.
    reporting = asyncio.create_task(report())
    try:
        yield tell
    finally:
        reporting.cancel()
        await asyncio.wait({reporting})


async def open_session(ctx: ToolContext, name: str, environment: str | None) -> Session:
    """The session *name*, opened if need be; making the default environment reports progress."""
    owner = runtime(ctx)
    if owner.sessions.is_open(name, principal()):
        return await owner.sessions.open(name, environment=environment, principal=principal())
    async with progress(ctx) as tell:
        if not environment:
            await owner.environments.ensure(owner.settings.default_environment, on_progress=tell)
        return await owner.sessions.open(name, environment=environment, principal=principal())


async def attend(
    ctx: ToolContext, session: Session, ongoing: OngoingExecution, wait_seconds: float | None
) -> None:
    """Wait until the execution is over or asks for input, or the call's time is up; report progress."""
    settings = runtime(ctx).settings
    begun = time.monotonic()
    limit = settings.wait_seconds if wait_seconds is None else wait_seconds
    while (left := limit - (time.monotonic() - begun)) > 0:
        await ongoing.wait(min(left, settings.progress_seconds))
        if ongoing.settled:
            return
        elapsed = time.monotonic() - begun
        await ctx.report_progress(
            elapsed, None, f"{elapsed:.0f} s · {plain(session.last_line(ongoing)[-200:])}"
        )
