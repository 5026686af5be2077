"""Much output: how long it takes, and what it does to the server's memory."""

import asyncio

import psutil

from kernel_exec.runtime import Runtime
from kernel_exec.sessions.session import Session
from tests.benchmarks.bare import bare_client, round_trip
from tests.benchmarks.row import Row, by_turns

TEN_MEGABYTES = "for _ in range(100_000): print('x' * 99)"
ONE_STRING = "print('x' * 10_000_000)"
HUNDRED_MEGABYTES = "for _ in range(1_000_000): print('x' * 99)"
MEMORY_LIMIT_MEBIBYTES = 64


async def rows(runtime: Runtime) -> list[Row]:
    session = await runtime.sessions.open("output")
    memory = await _memory(session)  # first, while the process is small
    found = []
    async with bare_client(runtime.settings) as client:
        for name, code in (("in lines", TEN_MEGABYTES), ("at once", ONE_STRING)):
            ours, floor = await by_turns(
                7, lambda code=code: session.execute(code), lambda code=code: round_trip(client, code)
            )
            found.append(Row(f"10 MB printed {name}", ours, floor, limit=2))
    await runtime.sessions.close("output")
    return [*found, memory]


async def _memory(session: Session) -> Row:
    await session.execute("print('warm')")
    process = psutil.Process()
    before = peak = process.memory_info().rss
    ongoing = session.submit(HUNDRED_MEGABYTES)
    while not ongoing.finished.is_set():
        peak = max(peak, process.memory_info().rss)
        await asyncio.sleep(0.005)
    grown = (peak - before) / 2**20
    return Row("100 MB printed: memory growth, its limit", grown, MEMORY_LIMIT_MEBIBYTES, "MiB", limit=1)
