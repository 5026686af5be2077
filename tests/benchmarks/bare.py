"""jupyter_client alone, in the same environment: the floor."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from kernel_exec.settings import Settings

__all__ = ["bare_client", "round_trip"]


@asynccontextmanager
async def bare_client(settings: Settings) -> AsyncIterator[AsyncKernelClient]:
    """A kernel that answers and whose output arrives; not with `wait_for_ready`, which waits 0.2 s."""
    specs = KernelSpecManager(kernel_dirs=[str(settings.home / "jupyter" / "kernels")])
    manager = AsyncKernelManager(kernel_name=settings.default_environment, kernel_spec_manager=specs)
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    await manager.start_kernel(env=variables, stderr=subprocess.DEVNULL)
    client = manager.client()
    client.start_channels(hb=False)
    while True:
        message = client.kernel_info()
        await _reply(client, message)
        try:
            await asyncio.wait_for(_idle(client, message), 0.05)
            break
        except TimeoutError:
            continue  # the subscription came too late for this one
    try:
        yield client
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)


async def round_trip(client: AsyncKernelClient, code: str) -> int:
    """Execute code; returns how many characters its streams had."""
    message = client.execute(code, store_history=True, allow_stdin=False)
    chars = await _idle(client, message)
    await _reply(client, message)
    return chars


async def _reply(client: AsyncKernelClient, message: str) -> None:
    while (await client.get_shell_msg(timeout=60))["parent_header"].get("msg_id") != message:
        pass


async def _idle(client: AsyncKernelClient, message: str) -> int:
    chars = 0
    while True:
        heard = await client.get_iopub_msg(timeout=60)
        if heard["parent_header"].get("msg_id") == message:
            content = heard["content"]
            chars += len(content.get("text", ""))
            if content.get("execution_state") == "idle":
                return chars
