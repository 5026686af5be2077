"""The tool that says whether all is well."""

import asyncio
import os
import shutil
import sys
from datetime import datetime
from typing import Annotated

import psutil
from mcp.types import CallToolResult, ToolAnnotations
from pydantic import BaseModel

import kernel_exec
from kernel_exec.errors import IsolationUnavailable
from kernel_exec.kernels.limits import Enforced, limit_lines
from kernel_exec.runtime import Runtime
from kernel_exec.server.boundary import KernelExecServer
from kernel_exec.server.calls import ToolContext, runtime, structured
from kernel_exec.server.tables import mebibytes
from kernel_exec.sessions.state import SessionState

__all__ = ["Health", "add_status_tools"]

LIMITS = (
    "timeout_seconds",
    "max_timeout_seconds",
    "wait_seconds",
    "package_timeout_seconds",
    "queue_limit",
    "max_sessions",
    "max_chars",
    "output_limit_bytes",
)


class EnvironmentHealth(BaseModel):
    """One environment; *problems* is empty when a kernel can start in it.

    *isolation* says how its code is kept from the machine, and why not further; the paths are what such
    code may use besides the environment and the working directory.
    """

    name: str
    python: str
    python_runs: bool
    ipykernel: str | None
    ipykernel_is_tested: bool
    kernelspec_is_valid: bool
    packages: int
    size_bytes: int
    last_used: datetime
    isolation: str
    isolation_works: bool
    writable_paths: list[str]
    readable_paths: list[str]
    problems: list[str]


class Health(BaseModel):
    """The server, what it runs and what the machine has left. Sizes in bytes, loads in percent."""

    version: str
    python: str
    home: str
    workspace: str
    environments: list[EnvironmentHealth]
    sessions: list[SessionState]
    limits: dict[str, float]
    session_limits: dict[str, Enforced]
    server_memory_bytes: int
    cpu_percent: float
    cpu_count: int
    memory_total_bytes: int
    memory_available_bytes: int
    disk_free_bytes: int
    problems: list[str]


async def health(owner: Runtime) -> Health:
    """Measure everything; takes some milliseconds per session and environment."""
    environments = [await _environment(owner, one.name) for one in await owner.environments.list()]
    sessions = [await session.state() for session in owner.sessions.list(None)]
    memory = psutil.virtual_memory()
    disk = shutil.disk_usage(owner.settings.home)
    problems = [
        f"Environment {one.name!r}: {'; '.join(one.problems)}. Call repair_environment({one.name!r})."
        for one in environments
        if one.problems
    ]
    problems += [
        f"Environment {one.name!r} starts no kernels: {one.isolation}"
        for one in environments
        if not one.isolation_works
    ]
    problems += [f"Session {one.name!r} has no kernel." for one in sessions if one.state == "failed"]
    if disk.free < 1 << 30:
        problems.append(f"Only {mebibytes(disk.free)} of disk are free in {owner.settings.home}.")
    return Health(
        version=kernel_exec.__version__,
        python=sys.version.split()[0],
        home=str(owner.settings.home),
        workspace=str(owner.settings.workspace),
        environments=environments,
        sessions=sessions,
        limits={name: getattr(owner.settings, name) for name in LIMITS},
        session_limits=owner.kernels.limiter.enforced(),
        server_memory_bytes=psutil.Process().memory_info().rss,
        cpu_percent=await asyncio.to_thread(psutil.cpu_percent, 0.1),
        cpu_count=os.cpu_count() or 1,
        memory_total_bytes=memory.total,
        memory_available_bytes=memory.available,
        disk_free_bytes=disk.free,
        problems=problems,
    )


async def _environment(owner: Runtime, name: str) -> EnvironmentHealth:
    found = await owner.environments.health(name)
    settings = owner.settings.for_environment(name)
    try:
        isolation, works = str(await owner.kernels.isolation(name)), True
    except IsolationUnavailable as error:
        isolation, works = error.message, False
    return EnvironmentHealth(
        name=name,
        python=found.environment.python,
        python_runs=found.python_runs,
        ipykernel=found.ipykernel,
        ipykernel_is_tested=found.ipykernel_is_tested,
        kernelspec_is_valid=found.kernelspec_is_valid,
        packages=found.packages,
        size_bytes=found.size_bytes,
        last_used=found.last_used,
        isolation=isolation,
        isolation_works=works,
        writable_paths=[str(path) for path in settings.writable_paths],
        readable_paths=[str(path) for path in settings.readable_paths],
        problems=list(found.problems),
    )


def add_status_tools(server: KernelExecServer) -> None:
    """Register the tool of this module."""

    @server.tool(annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False))
    async def health_check(ctx: ToolContext) -> Annotated[CallToolResult, Health]:
        """Server, environments, sessions, limits, CPU, memory and disk; lists problems first."""
        found = await health(runtime(ctx))
        return structured("\n".join(health_lines(found)), found)


def health_lines(found: Health) -> list[str]:
    """The same for people."""
    lines = [f"PROBLEM: {problem}" for problem in found.problems] or ["All is well."]
    lines += [
        f"kernel_exec {found.version} on Python {found.python}, {mebibytes(found.server_memory_bytes)}",
        f"data directory {found.home} ({mebibytes(found.disk_free_bytes)} free), workspace {found.workspace}",
        f"CPU {found.cpu_percent:.0f} % of {found.cpu_count} cores",
        f"memory {mebibytes(found.memory_available_bytes)} available of "
        f"{mebibytes(found.memory_total_bytes)}",
        *(
            f"environment {one.name}: Python {one.python}, ipykernel {one.ipykernel or 'missing'}, "
            f"{one.packages} packages, {mebibytes(one.size_bytes)}"
            for one in found.environments
        ),
        *_isolation_lines(found.environments),
        f"sessions: {', '.join(f'{one.name} ({one.state})' for one in found.sessions) or 'none open'}",
        "limits: " + ", ".join(f"{name} {value:,.0f}" for name, value in found.limits.items()),
        "each session: " + ", ".join(limit_lines(found.session_limits)),
    ]
    return lines


def _isolation_lines(environments: list[EnvironmentHealth]) -> list[str]:
    """How code is isolated, for each group of environments in which that is the same."""
    names: dict[str, list[str]] = {}
    for one in environments:
        parts = [one.isolation]
        parts += [f"writable: {', '.join(one.writable_paths)}"] if one.writable_paths else []
        parts += [f"readable: {', '.join(one.readable_paths)}"] if one.readable_paths else []
        names.setdefault("; ".join(parts), []).append(one.name)
    return [f"isolation of {', '.join(of)}: {how}" for how, of in names.items()]
