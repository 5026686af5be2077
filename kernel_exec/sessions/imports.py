"""What live kernels have imported of packages that were changed on disk."""

import ast
import asyncio
from collections.abc import Iterable, Mapping

from kernel_exec.kernels import KernelEnded
from kernel_exec.sessions.session import Session

__all__ = ["imported"]

ASK_SECONDS = 3.0
# Also makes the kernel look anew for modules that were not there before.
TOP_LEVEL_MODULES = (
    "(__import__('importlib').invalidate_caches(), "
    "sorted({name.partition('.')[0] for name in [*__import__('sys').modules]}))[1]"
)


async def imported(
    sessions: Iterable[Session], modules: Mapping[str, frozenset[str]]
) -> Mapping[str, list[str] | None]:
    """For each session that has some of *modules* (by package) imported, the packages.

    None for a session that could not be asked within 3 s: its kernel is busy and cannot answer aside.
    """
    asked = list(sessions)
    answers = await asyncio.gather(*(_top_level_modules(session) for session in asked))
    found: dict[str, list[str] | None] = {}
    for session, answer in zip(asked, answers, strict=True):
        if answer is None:
            found[session.name] = None
        elif held := [package for package, names in modules.items() if names & answer]:
            found[session.name] = held
    return found


async def _top_level_modules(session: Session) -> set[str] | None:
    kernel = session.kernel
    if kernel is None:
        return set()
    aside = session.executing
    if aside and not kernel.supports_subshells:
        return None
    try:
        text = await kernel.evaluate(TOP_LEVEL_MODULES, timeout_seconds=ASK_SECONDS, aside=aside)
        return set(ast.literal_eval(text))
    except KernelEnded:
        return set()
    except (TimeoutError, ValueError):
        return None
