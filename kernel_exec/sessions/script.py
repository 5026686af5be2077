"""Runs inside a kernel, never imported by the server: `sys.argv` and `__file__` for one execution.

Standard library and IPython only.
"""

import sys
from typing import Any

from IPython import get_ipython

MISSING = object()


def arm(token: str, source: str, path: str, arguments: Any) -> None:
    """Let the next execution of *source* see `sys.argv` and `__file__` of a script; then put them back."""
    shell = get_ipython()
    before: list[Any] = []

    def begin(info: Any) -> None:
        # Of several that wait for the same source, the first takes it.
        if info.raw_cell == source and not hasattr(info, "script"):
            info.script = path
            shell.events.unregister("pre_run_cell", begin)
            shell.events.register("post_run_cell", end)
            before.extend([sys.argv, shell.user_ns.get("__file__", MISSING)])
            sys.argv, shell.user_ns["__file__"] = [path, *arguments], path

    def end(result: Any) -> None:
        shell.events.unregister("post_run_cell", end)
        sys.argv = before[0]
        if before[1] is MISSING:
            shell.user_ns.pop("__file__", None)
        else:
            shell.user_ns["__file__"] = before[1]

    begin.token = token  # type: ignore[attr-defined]
    shell.events.register("pre_run_cell", begin)


def disarm(token: str) -> None:
    """Undo `arm` for an execution that never began."""
    events = get_ipython().events
    for begin in [*events.callbacks["pre_run_cell"]]:
        if getattr(begin, "token", None) == token:
            events.unregister("pre_run_cell", begin)
