"""One line of the table."""

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

__all__ = ["Row", "by_turns"]


@dataclass(frozen=True, slots=True)
class Row:
    """*value* of ours and *floor*, what the parts alone take, in *unit*; *limit* bounds value / floor."""

    name: str
    value: float
    floor: float
    unit: str = "ms"
    limit: float | None = None

    @property
    def ratio(self) -> float:
        return self.value / self.floor


async def by_turns(times: int, *actions: Callable[[], Awaitable[object]]) -> list[float]:
    """The median milliseconds of each action, each done *times* times, in turns."""
    taken: list[list[float]] = [[] for _ in actions]
    for _ in range(times):
        for action, each in zip(actions, taken, strict=True):
            start = time.perf_counter()
            await action()
            each.append((time.perf_counter() - start) * 1000)
    return [statistics.median(each) for each in taken]
