"""How many executions may run at once, in all sessions of a server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

__all__ = ["Slots"]


class Slots:
    """So many places for executions, given first come first served; None is no limit."""

    def __init__(self, count: int | None) -> None:
        self._free = asyncio.Semaphore(count) if count is not None else None

    @asynccontextmanager
    async def one(self, wake: asyncio.Event, wanted: Callable[[], bool]) -> AsyncIterator[bool]:
        """Hold a place, or none if it is no longer *wanted*, which is asked again after each *wake*."""
        if self._free is None:
            yield wanted()
            return
        taking = asyncio.create_task(self._free.acquire())
        try:
            while wanted() and not taking.done():
                wake.clear()
                waking = asyncio.create_task(wake.wait())
                await asyncio.wait({taking, waking}, return_when=asyncio.FIRST_COMPLETED)
                waking.cancel()
            yield wanted() and taking.done()
        finally:
            if not taking.cancel():
                self._free.release()
