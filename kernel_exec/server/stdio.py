"""Serve one client over standard input and output."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc

from kernel_exec.server.app import create_server
from kernel_exec.settings import Settings

__all__ = ["serve_stdio", "stop_on_signals"]


def serve_stdio(settings: Settings) -> None:
    """Serve until standard input ends or a signal comes; then every kernel is ended.

    The process exits here after a signal: the SDK's reader still blocks in its thread, and would keep
    the process from ending by itself.
    """
    caught: list[int] = []

    async def main() -> None:
        async with stop_on_signals(caught):
            await create_server(settings).run_stdio_async()

    anyio.run(main)
    if caught:
        os._exit(128 + caught[0])


@asynccontextmanager
async def stop_on_signals(caught: list[int]) -> AsyncIterator[None]:
    """Cancel the block on SIGTERM or SIGINT, and note which it was; further ones are ignored."""

    async def watch(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for number in signals:
                caught.append(number)
                tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        await tasks.start(watch)
        yield
        tasks.cancel_scope.cancel()
