import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from kernel_exec.environments import Environments
from kernel_exec.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path, shared: Environments, shared_settings: Settings) -> Settings:
    """A data directory of the test's own; ipykernel's layer is the shared one, to save time."""
    (tmp_path / "workspace").mkdir()
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "home" / "layers").symlink_to(shared_settings.home / "layers")
    return load_settings(home=tmp_path / "home", workspace=tmp_path / "workspace")


@pytest.fixture
def environments(settings: Settings) -> Environments:
    return Environments(settings)


@pytest.fixture(scope="session")
def shared_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("shared")
    (root / "workspace").mkdir()
    return load_settings(home=root / "home", workspace=root / "workspace")


@pytest_asyncio.fixture(scope="session")
async def shared(shared_settings: Settings) -> AsyncIterator[Environments]:
    """Environments with a real one, `default`, that tests read and never change."""
    environments = Environments(shared_settings)
    await environments.ensure("default")
    yield environments


@pytest.fixture
def wheel(settings: Settings) -> Callable[..., str]:
    """Makes a wheel in the workspace and gives its path: a package that needs no network."""
    return lambda name, version, **how: str(make_wheel(settings.workspace, name, version, **how))


def make_wheel(directory: Path, name: str, version: str, *, requires: tuple[str, ...] = ()) -> Path:
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {text}\n" for text in requires)
    files = {
        f"{name}.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in files) + f"{info}/RECORD,,\n"
    path = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in (files | {f"{info}/RECORD": record}).items():
            archive.writestr(file, text)
    return path


@contextmanager
def kernel_in(settings: Settings, name: str) -> Iterator[Callable[[str], str]]:
    """A kernel that plain jupyter_client starts by its kernelspec; runs code, gives the text output."""
    specs = KernelSpecManager(kernel_dirs=[str(settings.home / "jupyter" / "kernels")])
    manager = KernelManager(kernel_name=name, kernel_spec_manager=specs, transport="ipc")
    manager.start_kernel()
    client = manager.client()
    client.start_channels()

    def run_code(code: str) -> str:
        told: list[str] = []
        client.execute_interactive(
            code, timeout=60, output_hook=lambda message: told.append(message["content"].get("text", ""))
        )
        return "".join(told).strip()

    try:
        client.wait_for_ready(timeout=60)
        yield run_code
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
