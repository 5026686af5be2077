"""Start kernels, and end them on every path out."""

import asyncio
import os
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path

import anyio
import structlog
import zmq.asyncio
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from kernel_exec.cleanup import finish
from kernel_exec.environments import Environment
from kernel_exec.errors import KernelStartFailed
from kernel_exec.kernels.isolation import Isolation, choose, provisioner
from kernel_exec.kernels.kernel import Kernel
from kernel_exec.kernels.limits import Guard, Limiter, Limits, total_memory
from kernel_exec.kernels.monitor import Monitor, Watched
from kernel_exec.kernels.provisioners.probe import Probe
from kernel_exec.kernels.requests import KernelEnded
from kernel_exec.kernels.watchdog import Watchdog
from kernel_exec.processes import KILL_GRACE_SECONDS, stop_tree
from kernel_exec.settings import PREFIX, Network, Settings

__all__ = ["Kernels"]

log = structlog.get_logger(__name__)

MARKER = "_KERNEL_EXEC_ID"
LOG_LINES = 15
RECONNECT_MILLISECONDS = 5
RECEIVE_MESSAGES = 32
# Of the server's own environment, what would harm a kernel in another one. With
# PYTHONDONTWRITEBYTECODE every start would compile again what the installer left uncompiled; with
# PYTEST_CURRENT_TEST ipykernel leaves out what subprocesses print.
UNWANTED = {
    "PYTEST_CURRENT_TEST",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHOME",
    "PYTHONPYCACHEPREFIX",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "__PYVENV_LAUNCHER__",
}
# Every session keeps its own history; sharing the user's file would also make kernels wait for it.
NO_HISTORY_FILE = "--HistoryManager.hist_file=:memory:"


class Kernels:
    """Starts kernels; their sockets and connection files are in *directory* (mode 0700).

    All their processes can be told by *server*, a name of one run of the server; see `sweep`.
    *default_network* is what isolated code gets where the setting `network` says nothing.
    """

    def __init__(
        self, settings: Settings, directory: Path, server: str, *, default_network: Network = "on"
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._server = server
        self._default_network = default_network
        self._probe = Probe()
        self.limiter = Limiter(settings, server)
        self.monitor = Monitor(MARKER)
        self._watchdog = Watchdog(self.monitor, total_memory(settings))
        self._numbers = count(1)
        self._context = zmq.asyncio.Context()
        # What the server cannot take yet waits in the kernel, whose own mark is off (see `inside.startup`):
        # nothing is dropped, and a flood does not grow the server.
        self._context.sndhwm, self._context.rcvhwm = 0, RECEIVE_MESSAGES
        # The default of 100 ms would be added to most starts.
        self._context.reconnect_ivl = RECONNECT_MILLISECONDS

    @asynccontextmanager
    async def run(self, environment: Environment, working_directory: Path) -> AsyncIterator[Kernel]:
        """A kernel in *environment*, ready to execute; its whole process tree is gone afterwards.

        Raises: KernelStartFailed, within `kernel_start_seconds`, with what the process wrote.
        """
        isolation = await self.isolation(environment.name)
        number = next(self._numbers)
        marker = (MARKER, f"{self._server}-{number}")
        log_file = self._directory / f"k{number}.log"
        # Not to be guessed: in a sandbox by Landlock the code can connect to any socket that it can name.
        directory = self._directory / secrets.token_hex(6)
        manager = AsyncKernelManager(
            kernel_name=environment.name,
            kernel_spec_manager=self._specs(isolation, environment, working_directory, directory, marker),
            context=self._context,
            connection_file=str(directory / "k.json"),
            **({} if sys.platform == "win32" else {"transport": "ipc", "ip": str(directory / "s")}),
        )
        guard = await asyncio.to_thread(
            self.limiter.guard,
            f"k{number}",
            Limits.of(self._settings.for_environment(environment.name)),
            engine=isolation.mechanism if isolation.level == "container" else "",
            writable=(directory, *self._settings.for_environment(environment.name).writable_paths),
        )
        watched = Watched(None, marker[1], guard)
        arguments = [
            NO_HISTORY_FILE,
            *([_runs_inside("sandboxed")] if isolation.level != "none" else []),
            _runs_inside("limited", limits=self.limiter.inside(guard)),
            _runs_inside("startup"),
        ]
        kernel: Kernel | None = None
        directory.mkdir(mode=0o700)
        try:
            try:
                async with asyncio.timeout(self._settings.kernel_start_seconds):
                    with log_file.open("wb") as stream:
                        await manager.start_kernel(
                            cwd=str(working_directory),
                            env=_kernel_variables(environment, marker),
                            stdout=stream,
                            stderr=stream,
                            extra_arguments=arguments,
                        )
                    kernel = Kernel(manager, marker, watched)
                    watched.pid = kernel.pid
                    await asyncio.gather(self.limiter.enforce(guard, kernel.pid, marker), kernel.ready())
                    self._watchdog.add(kernel)
            except (KernelEnded, TimeoutError, OSError, RuntimeError) as error:
                raise _start_failed(environment, error, kernel, log_file) from error
            yield kernel
        finally:
            self._watchdog.remove(watched)
            await finish(self._end(manager, kernel, marker, guard))
            log_file.unlink(missing_ok=True)

    async def watch(self) -> None:
        """Measure the kernels and enforce what nothing else does, until cancelled."""
        await self._watchdog.run()

    async def isolation(self, environment: str) -> Isolation:
        """How the kernels of *environment* are isolated; what works here is tried at the first question.

        Raises: IsolationUnavailable.
        """
        settings = self._settings.for_environment(environment)
        return await choose(settings, self._probe, default_network=self._default_network)

    def _specs(
        self,
        isolation: Isolation,
        environment: Environment,
        working_directory: Path,
        directory: Path,
        marker: tuple[str, str],
    ) -> KernelSpecManager:
        """The environment's kernelspec, started the way that was chosen."""
        specs = KernelSpecManager(kernel_dirs=[str(self._settings.home / "jupyter" / "kernels")])
        if isolation.level == "none":
            return specs
        spec = specs.get_kernel_spec(environment.name)
        workspace = self._settings.workspace
        spec.metadata["kernel_provisioner"] = provisioner(
            isolation,
            self._settings.for_environment(environment.name),
            environment,
            writable=[workspace] if working_directory.is_relative_to(workspace) else [],
            server=self._server,
            marks=dict([marker]),
            runtime_directory=str(directory),
        )
        if isolation.level == "container":
            spec.interrupt_mode = "message"
        return _OneSpec(spec)

    @staticmethod
    async def sweep(server: str) -> None:
        """Kill what the kernels of a server that is gone have left behind."""
        await stop_tree(None, marker=(MARKER, server))
        await asyncio.to_thread(Limiter.sweep, server)
        if sys.platform == "linux":
            from kernel_exec.kernels.provisioners import container

            await container.sweep(server)

    def close(self) -> None:
        """Close the sockets' context and remove the control groups, after the last kernel has ended."""
        self._context.destroy(linger=0)
        self.limiter.close()

    async def _end(
        self, manager: AsyncKernelManager, kernel: Kernel | None, marker: tuple[str, str], guard: Guard
    ) -> None:
        """Politely, then by force; the force also reaches what the code started and left behind.

        Bounded: each step has a limit of its own.
        """
        if kernel is not None and not kernel.ended.done():
            with anyio.move_on_after(self._settings.shutdown_grace_seconds):
                await kernel.interrupt()
                kernel.request_shutdown()
                await asyncio.wait({kernel.ended})
        provisioner = manager.provisioner
        if provisioner is not None and provisioner.has_process:
            await provisioner.kill()
        pid = getattr(provisioner, "pid", None)
        if pid is not None and (left := await stop_tree(pid, marker=marker)):
            log.error("processes did not end", kernel=marker[1], pids=left)
        if kernel is not None:
            await asyncio.wait({kernel.ended}, timeout=KILL_GRACE_SECONDS)
            await kernel.close()
        if provisioner is not None and provisioner.has_process:
            with anyio.move_on_after(KILL_GRACE_SECONDS):
                await provisioner.wait()
        await self.limiter.release(guard)
        await manager.cleanup_resources()
        await asyncio.to_thread(_remove, Path(manager.connection_file).parent)


def _runs_inside(module: str, **given: object) -> str:
    """The argument that makes the kernel run a module of `inside`, with *given* among its globals.

    As text, so that it works wherever the kernel runs and leaves no name in the user's namespace.
    """
    source = (Path(__file__).parent / "inside" / f"{module}.py").read_text(encoding="utf-8")
    return f"--IPKernelApp.exec_lines=exec({source!r}, {given!r})"


class _OneSpec(KernelSpecManager):
    """Knows one kernelspec, as it is in memory."""

    def __init__(self, spec: KernelSpec) -> None:
        super().__init__()
        self._spec = spec

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """That one."""
        return self._spec


def _remove(directory: Path) -> None:
    """Remove what a kernel left, also directories that its code made inaccessible."""
    for parent, names, _ in os.walk(directory):
        for path in (Path(parent, name) for name in names):
            if not path.is_symlink():
                with suppress(OSError):
                    path.chmod(0o700)
    shutil.rmtree(directory, ignore_errors=True)


def _kernel_variables(environment: Environment, marker: tuple[str, str]) -> Mapping[str, str]:
    """The kernel's environment variables: the server's, without its settings and secrets."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in UNWANTED and not name.startswith(PREFIX)
    }
    scripts = environment.python_executable.parent
    path = os.pathsep.join(filter(None, (str(scripts), kept.get("PATH"))))
    return kept | {"PATH": path, "VIRTUAL_ENV": str(environment.path), marker[0]: marker[1]}


def _start_failed(
    environment: Environment, error: BaseException, kernel: Kernel | None, log_file: Path
) -> KernelStartFailed:
    if isinstance(error, KernelEnded) and kernel is not None:
        reason = f"its process {kernel.ended.result()}"
    elif isinstance(error, TimeoutError):
        reason = "it was not ready in time (setting kernel_start_seconds)"
    else:
        reason = str(error)
    lines = log_file.read_text(errors="replace").splitlines() if log_file.exists() else []
    wrote = "\n".join(["", "It wrote:", *lines[-LOG_LINES:], ""]) if lines else ""
    return KernelStartFailed(
        f"No kernel could be started in environment {environment.name!r}: {reason}.{wrote}",
        f"Check list_packages(environment={environment.name!r}) for ipykernel; if the environment is "
        "damaged, delete it with delete_environment and create it again.",
    )
