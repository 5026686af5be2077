"""Whether kernel-exec can work on this machine: one check after the other, each with what to do."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from kernel_exec.errors import KernelExecError
from kernel_exec.kernels.limits import limit_lines
from kernel_exec.processes import run
from kernel_exec.runtime import LONGEST_DIRECTORY_BYTES, Runtime, open_runtime
from kernel_exec.settings import Settings

__all__ = ["Check", "examine"]

UV_SECONDS = 30.0
ENOUGH_DISK_BYTES = 1 << 30
SERVER_NAME_CHARS = 12  # what a server adds to `<home>/runtime/`, at most
PROBE = "sum(range(10))", "45"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what was *found*, and the *advice* if it did not pass."""

    name: str
    passed: bool
    found: str
    advice: str = ""


async def examine(settings: Settings, *, on_progress: Progress | None = None) -> AsyncIterator[Check]:
    """All checks, cheap ones first. The default environment is made if there is none.

    The last two are left out when the data directory cannot be used: they could only say so again.
    """
    yield _python()
    yield await _uv()
    writable = _write_access(settings.home)
    yield writable
    if not writable.passed:
        return
    yield _free_disk(settings.home)
    yield _socket_path(settings.home)
    try:
        async with open_runtime(settings) as runtime:
            yield await _isolation(runtime)
            yield Check("limits", True, ", ".join(limit_lines(runtime.kernels.limiter.enforced())))
            environment = await _environment(runtime, on_progress)
            yield environment
            if environment.passed:
                yield await _round_trip(runtime, on_progress)
    except KernelExecError as error:
        yield Check("data directory", False, error.message, error.hint)


def _python() -> Check:
    return Check("Python", True, f"{sys.version.split()[0]} ({sys.executable})")


async def _uv() -> Check:
    try:
        uv = os.fspath(find_uv_bin())
        done = await run([uv, "--version"], timeout_seconds=UV_SECONDS)
    except (OSError, TimeoutError) as error:  # FileNotFoundError: the package has no program
        found = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Check("uv", False, found, "Install it again: pip install --force-reinstall uv.")
    if done.returncode != 0:
        return Check("uv", False, f"`{uv} --version` failed: {done.errors.strip()[-300:]}", _reinstall(uv))
    return Check("uv", True, f"{done.output.strip()} ({uv})")


def _reinstall(uv: str) -> str:
    return f"See whether {uv} may be run here (a file system mounted noexec?), or install uv again."


def _write_access(home: Path) -> Check:
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=home) as directory:
            Path(directory, "written").write_text("written", encoding="utf-8")
    except OSError as error:
        advice = "Set KERNEL_EXEC_HOME to a directory that you can write to."
        return Check("data directory", False, f"{home}: {error.strerror or error}", advice)
    return Check("data directory", True, f"{home} can be written to")


def _free_disk(home: Path) -> Check:
    free = shutil.disk_usage(home).free
    return Check(
        "free disk",
        free >= ENOUGH_DISK_BYTES,
        f"{free / 2**30:.1f} GiB",
        "Free some (`kernel-exec env prune --unused-for 30d`), or set KERNEL_EXEC_HOME to another disk.",
    )


def _socket_path(home: Path) -> Check:
    """Paths of unix sockets are short; a data directory too deep makes a server use a temporary one."""
    if sys.platform == "win32":
        return Check("socket path", True, "not needed: kernels are reached over TCP")
    for directory in (home / "runtime", Path(tempfile.gettempdir(), "kxabcdefgh")):
        size = len(os.fsencode(directory)) + 1 + SERVER_NAME_CHARS
        if size <= LONGEST_DIRECTORY_BYTES:
            return Check(
                "socket path", True, f"{size} of {LONGEST_DIRECTORY_BYTES} bytes in {directory.parent}"
            )
    advice = "Set KERNEL_EXEC_HOME or TMPDIR to a directory with a shorter path."
    return Check("socket path", False, f"{home} and {directory.parent} are too long", advice)


async def _isolation(runtime: Runtime) -> Check:
    try:
        isolation = await runtime.kernels.isolation(runtime.settings.default_environment)
    except KernelExecError as error:
        return Check("isolation", False, error.message, "See the settings isolation and network.")
    return Check("isolation", True, str(isolation))


async def _environment(runtime: Runtime, on_progress: Progress | None) -> Check:
    name = runtime.settings.default_environment
    title = f"environment {name!r}"
    if on_progress is not None:
        on_progress(f"Looking at {title}")
    try:
        await runtime.environments.ensure(name, on_progress=on_progress)
        health = await runtime.environments.health(name)
    except KernelExecError as error:
        return Check(title, False, error.message, error.hint)
    if health.problems:
        advice = f"Run `kernel-exec env repair {name}`: it is rebuilt with the packages that it has."
        return Check(title, False, "; ".join(health.problems), advice)
    size = f"{health.packages} packages, {health.size_bytes / 2**20:,.0f} MiB"
    python = health.environment.python
    return Check(title, True, f"Python {python}, ipykernel {health.ipykernel}, {size}")


async def _round_trip(runtime: Runtime, on_progress: Progress | None) -> Check:
    if on_progress is not None:
        on_progress("Starting a kernel")
    code, expected = PROBE
    begun = time.perf_counter()
    try:
        session = await runtime.sessions.open("doctor")
        started = time.perf_counter()
        execution = await session.execute(code)
    except KernelExecError as error:
        return Check("kernel", False, error.message, error.hint)
    ended = time.perf_counter()
    if execution.text != expected:
        name = runtime.settings.default_environment
        advice = f"Run `kernel-exec env repair {name}`; if that does not help, report it with this output."
        return Check("kernel", False, f"{code} gave {execution.text!r} ({execution.status})", advice)
    found = f"started in {started - begun:.2f} s, ran {code} in {(ended - started) * 1000:.0f} ms"
    return Check("kernel", True, found)
