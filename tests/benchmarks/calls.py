"""Short executions: one after the other, and in eight sessions at once."""

import asyncio
import time
from contextlib import AsyncExitStack

from jupyter_client.asynchronous.client import AsyncKernelClient

from kernel_exec.runtime import Runtime
from kernel_exec.sessions.session import Session
from tests.benchmarks.bare import bare_client, round_trip
from tests.benchmarks.row import Row, by_turns

SESSIONS, CALLS = 8, 50


async def rows(runtime: Runtime) -> list[Row]:
    session = await runtime.sessions.open("calls")
    async with bare_client(runtime.settings) as client:
        await by_turns(20, lambda: session.execute("1"), lambda: round_trip(client, "1"))
        ours, floor = await by_turns(200, lambda: session.execute("1"), lambda: round_trip(client, "1"))
    await runtime.sessions.close("calls")
    return [Row("a warm execution", ours, floor), await _at_once(runtime)]


async def _at_once(runtime: Runtime) -> Row:
    names = [f"calls-{number}" for number in range(SESSIONS)]
    sessions = await asyncio.gather(*(runtime.sessions.open(name) for name in names))
    start = time.perf_counter()
    await asyncio.gather(*(_our_calls(session) for session in sessions))
    ours = time.perf_counter() - start
    await asyncio.gather(*(runtime.sessions.close(name) for name in names))
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(bare_client(runtime.settings)) for _ in names]
        start = time.perf_counter()
        await asyncio.gather(*(_bare_calls(client) for client in clients))
        floor = time.perf_counter() - start
    return Row(f"{SESSIONS} sessions x {CALLS} executions", ours * 1000, floor * 1000)


async def _our_calls(session: Session) -> None:
    for _ in range(CALLS):
        await session.execute("1")


async def _bare_calls(client: AsyncKernelClient) -> None:
    for _ in range(CALLS):
        await round_trip(client, "1")
