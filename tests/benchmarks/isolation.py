"""What a sandbox adds: to opening a session, and to a warm execution."""

from contextlib import AsyncExitStack
from functools import partial

from kernel_exec.errors import IsolationUnavailable
from kernel_exec.runtime import Runtime, open_runtime
from tests.benchmarks.opening import medians, opening
from tests.benchmarks.row import Row, by_turns

TIMES, CALLS = 40, 200


async def rows(runtime: Runtime) -> list[Row]:
    """None for a sandbox that does not work here."""
    found = []
    for sandbox in ("bubblewrap", "landlock"):
        settings = runtime.settings.model_copy(update={"isolation": "sandbox", "sandboxes": (sandbox,)})
        async with open_runtime(settings) as sandboxed:
            try:
                await opening(sandboxed)  # what works here is tried once
            except IsolationUnavailable as error:
                print(error)
                continue
            start = await medians(TIMES, partial(opening, sandboxed), partial(opening, runtime))
            found.append(Row(f"opening a session in {sandbox} (plain)", *start, limit=1.15))
            found.append(
                Row(f"a warm execution in {sandbox} (plain)", *await _warm(sandboxed, runtime), limit=1.1)
            )
    return found


async def _warm(*runtimes: Runtime) -> list[float]:
    async with AsyncExitStack() as stack:
        actions = []
        for runtime in runtimes:
            session = await runtime.sessions.open("warm")
            stack.push_async_callback(runtime.sessions.close, "warm")
            actions.append(partial(session.execute, "1"))
        await by_turns(20, *actions)
        return await by_turns(CALLS, *actions)
