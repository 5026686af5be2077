"""Serve one client over standard input and output."""

import asyncio
import os
import signal

import anyio

from kernel_exec.runtime import open_runtime
from kernel_exec.server.app import create_server
from kernel_exec.settings import Settings

__all__ = ["serve_stdio"]


def serve_stdio(settings: Settings) -> None:
    """Serve until standard input ends or a signal comes; then every kernel is ended.

    After a signal the process exits right here: the SDK's reader still blocks in a thread, which nothing
    can cancel.
    """
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_runtime(settings) as runtime:
            serving = asyncio.create_task(create_server(settings, runtime=runtime).run_stdio_async())
            signalled = asyncio.ensure_future(anext(signals))
            await asyncio.wait({serving, signalled}, return_when=asyncio.FIRST_COMPLETED)
        if signalled.done():
            os._exit(128 + signalled.result())
        signalled.cancel()
        await serving
