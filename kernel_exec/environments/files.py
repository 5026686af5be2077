"""Files that are written whole or not at all, and work that a cancelled caller still waits for."""

import asyncio
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from kernel_exec.cleanup import finish

__all__ = ["in_thread", "write_whole"]

T = TypeVar("T")


def write_whole(path: Path, text: str) -> None:
    """Write *text* to *path* so that a crash at any point leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name.lstrip('.')}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    if os.name == "nt":
        return  # a directory cannot be opened there
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Run *function* in a thread. A thread cannot be stopped, so a cancelled caller waits for its end:
    nothing goes on changing the disk after a lock was given back.
    """
    return await finish(asyncio.to_thread(function, *arguments))
