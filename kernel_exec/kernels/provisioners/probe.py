"""Which isolation works on this machine: tried by running it, once, and kept with the reason."""

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path

from kernel_exec.kernels.provisioners.view import View
from kernel_exec.processes import Completed, run
from kernel_exec.settings import Network, Settings

__all__ = ["Probe"]

PROBE_SECONDS = 30.0
REASON_CHARS = 300


class Probe:
    """Answers are kept for as long as this object lives."""

    def __init__(self) -> None:
        self._obstacles: dict[tuple[str, ...], asyncio.Task[str]] = {}

    async def obstacle(self, mechanism: str, settings: Settings, network: Network) -> str:
        """Why *mechanism* cannot be used with *network* here; empty when it works."""
        if sys.platform != "linux":
            return f"{mechanism} needs Linux"
        key = (mechanism, network, settings.container_engine, settings.container_image)
        if key not in self._obstacles:
            trying = _container(settings) if mechanism == "container" else _sandbox(mechanism, network)
            self._obstacles[key] = asyncio.create_task(trying, name=f"probe {mechanism}")
        return await asyncio.shield(self._obstacles[key])


async def _sandbox(mechanism: str, network: Network) -> str:
    from kernel_exec.kernels.provisioners.seccomp import compiled

    try:
        compiled(internet=True)
    except (OSError, RuntimeError, ImportError) as error:
        return f"{mechanism} needs libseccomp ({error})"
    return await (_bubblewrap(network) if mechanism == "bubblewrap" else _landlock(network))


async def _bubblewrap(network: Network) -> str:
    from kernel_exec.kernels.provisioners import base, bubblewrap, seccomp

    bwrap = shutil.which(bubblewrap.PROGRAM)
    if bwrap is None:
        return "bubblewrap is not installed (install the package bubblewrap)"
    with tempfile.TemporaryDirectory(prefix="kx") as directory:
        here = Path(directory)
        view = View(here, here, (here,), (), network=network)
        filter_file = base.memory_file(seccomp.compiled(internet=True))
        info = base.memory_file(b"")
        try:
            line = bubblewrap.command(
                [_true()], view, bwrap=bwrap, seccomp=filter_file, info=info, marks={}, tmp_bytes=1 << 20
            )
            return await _tried("bubblewrap", line, (filter_file, info))
        finally:
            os.close(filter_file)
            os.close(info)


async def _landlock(network: Network) -> str:
    from kernel_exec.kernels.provisioners import base, landlock, launcher, seccomp

    version = launcher.landlock_version()
    if version < launcher.SCOPE_VERSION:
        return (
            f"Landlock needs interface {launcher.SCOPE_VERSION} (Linux 6.12); here it is {version or 'off'}"
        )
    if network == "allow-list":
        return "Landlock has no network allow-list"
    with tempfile.TemporaryDirectory(prefix="kx") as directory:
        here = Path(directory)
        filter_file = base.memory_file(seccomp.compiled(internet=network == "on"))
        try:
            read, write = landlock.paths(View(here, here, (here,), ()))
            line = base.launcher_command(
                [_true()], python=sys.executable, read=read, write=write, scope=True, seccomp=filter_file
            )
            return await _tried("Landlock", line, (filter_file,))
        finally:
            os.close(filter_file)


async def _container(settings: Settings) -> str:
    from kernel_exec.kernels.provisioners import container

    engine = container.find_engine(settings.container_engine)
    if engine is None:
        return f"no container engine is installed ({settings.container_engine})"
    if not settings.container_image:
        return "the setting container_image names no image"
    return await _tried(Path(engine).name, container.probe_command(engine, settings.container_image), ())


async def _tried(what: str, line: list[str], descriptors: tuple[int, ...]) -> str:
    try:
        done: Completed = await run(line, timeout_seconds=PROBE_SECONDS, pass_fds=descriptors)
    except (OSError, TimeoutError) as error:
        return f"{what} failed: {str(error) or 'no answer in time'}"
    if done.returncode == 0:
        return ""
    return f"{what} failed: {done.errors.strip()[-REASON_CHARS:] or f'exit code {done.returncode}'}"


def _true() -> str:
    return shutil.which("true", path="/usr/bin:/bin") or "/usr/bin/true"
