"""Looking after environments: their health, when they were last used, and which may go."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from packaging.version import InvalidVersion, Version

from kernel_exec.environments import commands, kernelspecs, trees
from kernel_exec.environments.environment import Environment, can_run
from kernel_exec.environments.files import in_thread
from kernel_exec.environments.packages import incomplete, installed
from kernel_exec.environments.parts import Parts
from kernel_exec.processes import run

__all__ = ["Health", "Unused", "check", "unused"]

TESTED_IPYKERNEL = "6.29", "8"  # from, and below
_PYTHON_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Health:
    """What was looked at in one environment; *problems* is empty when all of it is well."""

    environment: Environment
    python_runs: bool
    ipykernel: str | None
    ipykernel_is_tested: bool
    kernelspec_is_valid: bool
    packages: int
    size_bytes: int
    last_used: datetime
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unused:
    """An environment that nobody used for a while, and the disk it takes."""

    environment: Environment
    last_used: datetime
    size_bytes: int


async def check(parts: Parts, name: str) -> Health:
    """Look at all of *name*: starts its Python once and reads every package's file list.

    Raises: EnvironmentNotFound.
    """
    environment = parts.store.read(name)
    venv = environment.path
    problems = [environment.broken] if environment.broken else []

    python_runs = can_run(environment.python_executable) and await _runs(environment)
    if not python_runs:
        problems.append("its Python does not run")
    packages = await in_thread(installed, venv)
    if environment.launcher is not None:
        ipykernel = (await in_thread(installed, environment.launcher.parent)).get("ipykernel")
    else:
        ipykernel = packages.get("ipykernel")
    tested = ipykernel is not None and _is_tested(ipykernel.version)
    if ipykernel is None:
        problems.append("it has no ipykernel")
    elif not tested:
        problems.append(f"ipykernel {ipykernel.version} is not one that kernel-exec is tested with")
    if not (valid := kernelspecs.is_valid(parts.store.home, environment)):
        problems.append("its kernelspec is missing or does not start it")
    if damaged := await in_thread(incomplete, venv):
        problems.append(f"files are missing of {', '.join(damaged[:10])}")
    return Health(
        environment=environment,
        python_runs=python_runs,
        ipykernel=ipykernel.version if ipykernel else None,
        ipykernel_is_tested=tested,
        kernelspec_is_valid=valid,
        packages=len(packages),
        size_bytes=await in_thread(trees.size_bytes, venv),
        last_used=parts.store.last_used(environment),
        problems=tuple(problems),
    )


async def unused(parts: Parts, unused_for: timedelta, keep: Collection[str]) -> list[Unused]:
    """The environments that nobody used for *unused_for*, longest unused first.

    The default one, adopted ones and those in *keep* are left out.
    """
    found = []
    spared = {parts.settings.default_environment, *keep}
    for environment in parts.store.all():
        last_used = parts.store.last_used(environment)
        is_spared = environment.name in spared or environment.source == "adopted"
        if is_spared or datetime.now(UTC) - last_used < unused_for:
            continue
        size = await in_thread(trees.size_bytes, environment.path)
        found.append(Unused(environment, last_used, size))
    return sorted(found, key=lambda one: one.last_used)


async def _runs(environment: Environment) -> bool:
    try:
        command = [str(environment.python_executable), "-c", "import ssl, json"]
        done = await run(command, timeout_seconds=_PYTHON_SECONDS, env=commands.env())
    except (TimeoutError, OSError):
        return False
    return done.returncode == 0


def _is_tested(version: str) -> bool:
    first, below = map(Version, TESTED_IPYKERNEL)
    try:
        return first <= Version(version) < below
    except InvalidVersion:
        return False
