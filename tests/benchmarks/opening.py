"""From nothing to a session that is ready."""

import statistics
import time
from collections.abc import Awaitable, Callable

from kernel_exec.runtime import Runtime
from tests.benchmarks.bare import bare_client
from tests.benchmarks.row import Row

__all__ = ["medians", "opening"]

TIMES = 24


async def rows(runtime: Runtime) -> list[Row]:
    async def bare() -> float:
        start = time.perf_counter()
        async with bare_client(runtime.settings):
            return (time.perf_counter() - start) * 1000

    return [Row("opening a session", *await medians(TIMES, lambda: opening(runtime), bare), limit=1.1)]


async def opening(runtime: Runtime) -> float:
    """Milliseconds that a new session takes; it is closed again."""
    start = time.perf_counter()
    await runtime.sessions.open("opening")
    taken = time.perf_counter() - start
    await runtime.sessions.close("opening")
    return taken * 1000


async def medians(times: int, *actions: Callable[[], Awaitable[float]]) -> list[float]:
    """The median of what each action says that it took, done in changing order: the end of one may slow
    the start of the next down.
    """
    taken: list[list[float]] = [[] for _ in actions]
    for turn in range(times):
        order = list(zip(actions, taken, strict=True))
        for action, each in order if turn % 2 else reversed(order):
            each.append(await action())
    return [statistics.median(each) for each in taken]
