"""An exposed kernelspec that is isolated, started by plain jupyter_client as JupyterLab does."""

from contextlib import chdir
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from kernel_exec.errors import IsolationUnavailable
from kernel_exec.kernels.isolation import kernel_provisioner
from kernel_exec.runtime import open_runtime
from kernel_exec.settings import load_settings
from tests.security.conftest import SETTINGS, World

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("level", ["bubblewrap", "landlock", "container"])
async def test_jupyter_isolates_the_kernels_of_an_environment_that_was_exposed_so(
    world: World, environment: None, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    (directory := world.user / "lab").mkdir(exist_ok=True)
    settings = load_settings(home=world.home, workspace=world.workspace, **SETTINGS[level])
    async with open_runtime(settings) as runtime:
        found = runtime.environments.get("default")
        try:
            provisioner = await kernel_provisioner(settings, found)
        except IsolationUnavailable as error:
            pytest.skip(str(error))
        spec = runtime.environments.expose("default", provisioner)
    key = world.user / ".ssh" / "key"
    cells = [
        f"open({str(key)!r}).read()",
        "open('made', 'w').write('x'); 6 * 7",
        "import time; time.sleep(0)",
    ]
    kernel = AsyncKernelManager(kernel_name=spec.name, kernel_spec_manager=KernelSpecManager())
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    client = NotebookClient(notebook, km=kernel, allow_errors=True, timeout=60)
    with chdir(directory):
        try:
            await client.async_execute()
        finally:  # nbclient does neither for a manager that it was given
            client.kc.stop_channels()
            await kernel.shutdown_kernel(now=True)
    refused, made, _ = notebook.cells
    assert refused.outputs[0].ename in ("FileNotFoundError", "PermissionError")
    assert made.outputs[0].data["text/plain"] == "42"
    assert (directory / "made").read_text() == "x"


async def test_nothing_is_exposed_as_isolated_that_is_not(world: World, environment: None) -> None:
    settings = load_settings(home=world.home, workspace=world.workspace, isolation="auto", sandboxes=())
    async with open_runtime(settings) as runtime:
        found = runtime.environments.get("default")
        with pytest.raises(IsolationUnavailable, match="sandboxes names none"):
            await kernel_provisioner(settings, found)
