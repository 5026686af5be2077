"""What environments cost: `python -m tests.environments.benchmark [--all]`. Compare within one run only.

The installer's cache is filled first. `--all` adds `python -m venv` with pip, and a clone of 100 packages.
"""

import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from rich.console import Console
from rich.table import Table
from uv import find_uv_bin

from kernel_exec.environments import Environments
from kernel_exec.environments.commands import env
from kernel_exec.environments.trees import size_bytes
from kernel_exec.processes import run
from kernel_exec.settings import load_settings

ROUNDS = 5


async def seconds(work: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    told = await work()
    return told if isinstance(told, float) else time.perf_counter() - started


async def checked(*command: str | Path) -> None:
    done = await run(command, timeout_seconds=600, env=env())
    assert done.returncode == 0, done.errors


async def bare(venv: Path) -> None:
    uv = find_uv_bin()
    await checked(uv, "venv", "--python", sys.executable, venv)
    await checked(uv, "pip", "install", "--python", venv / "bin" / "python", "ipykernel")


async def with_pip(venv: Path) -> None:
    await checked(sys.executable, "-m", "venv", venv)
    await checked(venv / "bin" / "pip", "install", "--quiet", "ipykernel")


async def kernel(home: Path, name: str) -> float:
    """Seconds from the start of the process to its first result."""
    started = time.perf_counter()
    specs = KernelSpecManager(kernel_dirs=[str(home / "jupyter" / "kernels")])
    manager = AsyncKernelManager(kernel_name=name, kernel_spec_manager=specs, transport="ipc")
    await manager.start_kernel(env=env())
    client = manager.client()
    client.start_channels()
    try:
        client.execute("1")
        await client.get_shell_msg(timeout=60)
        return time.perf_counter() - started
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)


async def main() -> None:
    root = Path(tempfile.mkdtemp(prefix="kernel-exec-benchmark-"))
    (root / "workspace").mkdir()
    settings = load_settings(home=root / "home", workspace=root / "workspace")
    environments = Environments(settings)
    rows: dict[str, list[float]] = {}

    async def measure(label: str, work: Callable[[], Awaitable[object]]) -> None:
        rows.setdefault(label, []).append(await seconds(work))

    await bare(root / "warm")
    await measure("create, the first of its Python", lambda: environments.create("used"))
    await kernel(settings.home, "used")
    for number in range(ROUNDS):
        await measure("uv venv + uv pip install ipykernel", lambda n=number: bare(root / f"bare{n}"))
        await measure("create", lambda n=number: environments.create(f"new{n}"))
        await measure("kernel, used environment", lambda: kernel(settings.home, "used"))
        await measure("kernel, new environment", lambda n=number: kernel(settings.home, f"new{n}"))
        await measure(
            "install a wheel that is cached", lambda n=number: environments.install(f"new{n}", ["six"])
        )
        await measure("packages", lambda n=number: environments.packages(f"new{n}"))

    disk = ""
    if "--all" in sys.argv:
        await measure("python -m venv + pip install ipykernel", lambda: with_pip(root / "pip"))
        await environments.create("large", packages=["jupyterlab", "pandas", "matplotlib", "scikit-learn"])
        for number in range(3):
            await measure("clone", lambda n=number: environments.create(f"clone{n}", clone_from="large"))
        directory = settings.home / "environments"
        both = size_bytes(directory / "large", directory / "clone0")
        own = both - await environments.size_bytes("large")
        count = len(await environments.packages("large"))
        disk = f"a clone of {count} packages: {both - own >> 20} MiB, of which {own >> 20} MiB are its own"

    table = Table("what", "median s", "least s")
    for label, times in rows.items():
        table.add_row(label, f"{statistics.median(times):.2f}", f"{min(times):.2f}")
    console = Console(width=100)
    console.print(table)

    def ratio(one: str, other: str) -> float:
        return statistics.median(rows[one]) / statistics.median(rows[other])

    console.print(f"create / bare: {ratio('create', 'uv venv + uv pip install ipykernel'):.2f} (at most 1.0)")
    console.print(
        f"new / used kernel: {ratio('kernel, new environment', 'kernel, used environment'):.2f} (at most 1.3)"
    )
    if disk:
        console.print(disk)
    shutil.rmtree(root)


if __name__ == "__main__":
    asyncio.run(main())
