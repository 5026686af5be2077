"""From nothing to a session that is ready."""

from kernel_exec.runtime import Runtime
from tests.benchmarks.bare import bare_client
from tests.benchmarks.row import Row, by_turns


async def rows(runtime: Runtime) -> list[Row]:
    opened = []

    async def open_session() -> None:
        opened.append(await runtime.sessions.open(f"opening-{len(opened)}"))

    async def start_kernel() -> None:
        client = bare_client(runtime.settings)
        await client.__aenter__()
        started.append(client)

    started: list[object] = []
    ours, floor = [], []
    for _ in range(9):  # one at a time lives, so that none slows the others down
        our_time, bare_time = await by_turns(1, open_session, start_kernel)
        ours.append(our_time)
        floor.append(bare_time)
        await runtime.sessions.close(opened[-1].name)
        await started.pop().__aexit__(None, None, None)  # type: ignore[attr-defined]
    return [Row("opening a session", sorted(ours)[4], sorted(floor)[4], limit=1.1)]
