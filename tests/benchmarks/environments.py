"""Making environments, and the first kernel in a new one. The installer's cache is warm."""

import sys
from itertools import count
from pathlib import Path

from uv import find_uv_bin

from kernel_exec.environments.commands import env
from kernel_exec.environments.trees import size_bytes
from kernel_exec.processes import run
from kernel_exec.runtime import Runtime
from tests.benchmarks.row import Row, by_turns

ROUNDS = 5
LARGE = ["jupyterlab", "pandas", "matplotlib", "scikit-learn"]


async def rows(runtime: Runtime) -> list[Row]:
    environments, root = runtime.environments, runtime.settings.home.parent
    default = runtime.settings.default_environment
    numbers = count()

    async def bare() -> None:
        venv, uv = root / f"bare{next(numbers)}", find_uv_bin()
        await _checked(uv, "venv", "--python", sys.executable, venv)
        await _checked(uv, "pip", "install", "--python", venv / "bin" / "python", "ipykernel")

    async def create() -> None:
        await environments.create(f"new{next(numbers)}")

    async def with_pip() -> None:
        venv = root / f"pip{next(numbers)}"
        await _checked(sys.executable, "-m", "venv", venv)
        await _checked(venv / "bin" / "pip", "install", "--quiet", "ipykernel")

    async def open_in(environment: str) -> None:
        await runtime.sessions.open("first", environment=environment)

    await bare()
    created, floor = await by_turns(ROUNDS, create, bare)
    (pip,) = await by_turns(1, with_pip)

    new, used = [], []
    for number in range(ROUNDS):
        await environments.create(f"unused{number}")
        for times, environment in ((new, f"unused{number}"), (used, default)):
            times += await by_turns(1, lambda environment=environment: open_in(environment))
            await runtime.sessions.close("first")

    await environments.create("large", packages=LARGE)
    (cloned,) = await by_turns(1, lambda: environments.create("copy", clone_from="large"))
    packages = len(await environments.packages("large"))
    directory = runtime.settings.home / "environments"
    both, one = size_bytes(directory / "large", directory / "copy"), await environments.size_bytes("large")
    return [
        Row("create an environment (uv venv + uv pip install)", created, floor, limit=1),
        Row("create an environment (python -m venv + pip)", created, pip),
        Row("first kernel of a new environment (a used one)", sorted(new)[2], sorted(used)[2], limit=1.3),
        Row(f"clone one of {packages} packages (uv venv + uv pip install)", cloned, floor),
        Row("disk of that clone (its source)", (both - one) / 2**20, one / 2**20, unit="MiB"),
    ]


async def _checked(*command: str | Path) -> None:
    done = await run(command, timeout_seconds=600, env=env())
    assert done.returncode == 0, done.errors
