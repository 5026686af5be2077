"""Runs inside each kernel as it starts, before `startup`, with `limits` among its globals; never
imported by the server. Standard library only.
"""

from collections.abc import Mapping
from typing import Any


def take_on(limits: Mapping[str, Any]) -> None:
    """Take on the limits that a process can only set for itself; its children inherit them."""
    import os
    import random

    try:
        import resource
    except ImportError:  # Windows
        return

    for name, wanted in (("RLIMIT_NOFILE", limits["open_files"]), ("RLIMIT_FSIZE", limits["file_size"])):
        number = getattr(resource, name)
        soft, hard = (lower(one, wanted) for one in resource.getrlimit(number))
        resource.setrlimit(number, (soft, hard))
    if limits["cpus"] and hasattr(os, "sched_setaffinity"):
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, random.sample(cpus, min(len(cpus), limits["cpus"])))
    if limits["memory"]:
        refuse_memory(limits["memory"])


def lower(limit: int, wanted: int) -> int:
    """The smaller of two limits, of which -1 is none."""
    return wanted if limit < 0 else min(limit, wanted)


def refuse_memory(limit_bytes: int) -> None:
    """Past the limit, code gets a MemoryError of its own before something else has to kill it.

    The limit is set while the user's code runs only: what is left above it is for the kernel, to show
    the exception and to live on. Code can undo this; it is no defence.
    """
    import resource

    from IPython import get_ipython

    try:
        with open("/proc/self/status", encoding="utf-8") as file:  # noqa: PTH123 - pathlib imports much
            lines = dict(line.split(":", 1) for line in file)
        virtual, resident = (int(lines[name].split()[0]) * 1024 for name in ("VmData", "VmRSS"))
    except (OSError, KeyError):
        return  # not Linux: there this limit does not count what is mapped
    shell: Any = get_ipython()
    reserve = max(16 << 20, limit_bytes // 20)
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    low = lower(hard, limit_bytes - reserve + max(0, virtual - resident))
    run_code, show_all = shell.run_code, shell.showtraceback

    def allow(limit: int) -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))

    async def run(*args: Any, **options: Any) -> Any:
        allow(low)
        try:
            return await run_code(*args, **options)
        finally:
            allow(hard)

    def showtraceback(*args: Any, **options: Any) -> Any:
        allow(hard)
        return show_all(*args, **options)

    shell.run_code, shell.showtraceback = run, showtraceback


take_on(globals()["limits"])
