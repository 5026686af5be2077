import asyncio
from collections.abc import Awaitable, Callable
from copy import deepcopy

import nbformat
import pytest
import pytest_asyncio
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

from kernel_exec.runtime import Runtime
from kernel_exec.settings import Settings

Run = Callable[[NotebookNode], Awaitable[NotebookNode]]


@pytest_asyncio.fixture(scope="session")
async def rich_environment(runtime: Runtime) -> str:
    """An environment with what draws figures and widgets."""
    await runtime.environments.create("rich", packages=["ipywidgets", "matplotlib"])
    return "rich"


async def _nudge(client: NotebookClient) -> None:
    """nbclient sends past its asyncio sockets and then may miss that a reply is there: a message sent
    through the socket makes it look again.
    """
    while True:
        await asyncio.sleep(0.1)
        if client.code_cells_executed:  # before that it waits until nothing comes any more
            message = client.kc.session.msg("kernel_info_request", {})
            await client.kc.shell_channel.socket.send_multipart(client.kc.session.serialize(message))


@pytest.fixture
def run_with_nbclient(settings: Settings, rich_environment: str) -> Run:
    """Runs a copy of a notebook as nbclient does, in the same environment."""

    async def run(notebook: NotebookNode) -> NotebookNode:
        notebook = deepcopy(notebook)
        for cell in notebook.cells:
            if "skip-execution" not in cell.metadata.get("tags", []):
                cell.outputs = []
        specs = KernelSpecManager(kernel_dirs=[str(settings.home / "jupyter" / "kernels")])
        manager = AsyncKernelManager(kernel_name=rich_environment, kernel_spec_manager=specs)
        client = NotebookClient(
            notebook, km=manager, timeout=60, resources={"metadata": {"path": str(settings.workspace)}}
        )
        nudging = asyncio.create_task(_nudge(client))
        try:
            await client.async_execute()
        finally:  # nbclient does neither for a manager that it was given
            nudging.cancel()
            client.kc.stop_channels()
            await manager.shutdown_kernel(now=True)
        nbformat.validate(notebook)
        return notebook

    return run
