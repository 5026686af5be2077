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
        try:
            await client.async_execute()
        finally:  # nbclient does neither for a manager that it was given
            client.kc.stop_channels()
            await manager.shutdown_kernel(now=True)
        nbformat.validate(notebook)
        return notebook

    return run
