"""From nothing to a session that is ready."""

import statistics
import time

from kernel_exec.runtime import Runtime
from tests.benchmarks.bare import bare_client
from tests.benchmarks.row import Row

TIMES = 24


async def rows(runtime: Runtime) -> list[Row]:
    async def ours() -> float:
        start = time.perf_counter()
        await runtime.sessions.open("opening")
        taken = time.perf_counter() - start
        await runtime.sessions.close("opening")
        return taken * 1000

    async def bare() -> float:
        start = time.perf_counter()
        async with bare_client(runtime.settings):
            return (time.perf_counter() - start) * 1000

    taken: dict[object, list[float]] = {ours: [], bare: []}
    for number in range(TIMES):  # in changing order: an ending may slow the next start down
        for action in (ours, bare) if number % 2 else (bare, ours):
            taken[action].append(await action())
    value, floor = (statistics.median(each) for each in taken.values())
    return [Row("opening a session", value, floor, limit=1.1)]
