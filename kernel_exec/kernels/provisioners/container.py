"""Start a kernel in a container, by podman or docker; the environment and the workspace come from outside."""

import os
import resource
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from traitlets import Float, Int, Unicode

from kernel_exec.kernels.provisioners.base import (
    LAUNCHER,
    RELAY,
    SandboxProvisioner,
    launcher_command,
    relay_command,
)
from kernel_exec.kernels.provisioners.seccomp import compiled
from kernel_exec.kernels.provisioners.view import View
from kernel_exec.processes import Completed, run

__all__ = ["ContainerProvisioner", "command", "find_engine", "probe_command", "sweep"]

ENGINE_SECONDS = 30.0
LABEL = "kernel-exec.server"
ULIMIT = 4096
TEMPORARY = "/tmp"  # noqa: S108 - the container's own


def find_engine(name: str) -> str | None:
    """The path of the engine's program."""
    return shutil.which(name)


def command(
    program: Sequence[str], view: View, *, engine: str, image: str, options: Sequence[str]
) -> list[str]:
    """The command that runs *program* in a container of *image*, which is read-only.

    Without a network there is only a loopback.
    """
    line = [*_run(engine), "--init", *options]
    if view.network != "on":
        line.append("--network=none")
    mounts = [
        *((path, _mount(path, path, "rw")) for path in view.writable),
        *((path, _hidden(path, empty)) for path, empty in zip(view.hidden, _empty(view), strict=True)),
        *((path, _mount(path, path, "ro")) for path in (*view.readable, LAUNCHER, RELAY)),
        (view.runtime_directory, _mount(view.runtime_directory, view.runtime_directory, "rw")),
    ]
    for _, mount in sorted(mounts, key=lambda mount: len(mount[0].parts)):
        line += mount
    return [*line, "--workdir", str(view.working_directory), image, *program]


def probe_command(engine: str, image: str) -> list[str]:
    """The command that shows whether containers of *image* can be started; it pulls nothing."""
    return [*_run(engine), "--pull=never", "--network=none", image, "true"]


async def sweep(server: str) -> None:
    """Remove what a *server* that was killed has left, in all engines that there are."""
    for engine in filter(None, map(find_engine, ("podman", "docker"))):
        ids = (await _engine(engine, "ps", "-aq", "--filter", f"label={LABEL}={server}")).output.split()
        if ids:
            await _engine(engine, "rm", "-f", *ids)


class ContainerProvisioner(SandboxProvisioner):
    """Jupyter's name for it is `kernel-exec-container`. It is interrupted by message: the kernelspec
    needs `"interrupt_mode": "message"`.
    """

    image = Unicode(help="The image; it needs the C library that the environment's Python was made for")
    server = Unicode(help="The server that the container belongs to")
    memory_bytes = Int(0, help="Limit of memory, by the engine; 0 for none")
    processes = Int(0, help="Limit of processes and threads, by the engine; 0 for none")
    cpus = Float(0.0, help="Limit of CPUs, by the engine; 0 for none")

    _name = ""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the engine's client, which stays until the container ends."""
        self._name = f"kx-{secrets.token_hex(6)}"
        # Not as options: everybody on the machine can read those.
        variables = self.directory / "variables"
        variables.touch(mode=0o600)
        own = kwargs["env"] | {"HOME": TEMPORARY}
        variables.write_text("".join(f"{key}={value}\n" for key, value in own.items() if "\n" not in value))
        filter_file = self.directory / "filter"  # stricter than the engine's own
        filter_file.write_bytes(compiled(internet=True))
        program = launcher_command(cmd, python=cmd[0], seccomp=str(filter_file), variables=self.marks)
        if self.network == "allow-list":
            program = relay_command(program, self.directory / "p", python=cmd[0])
        view = self.view(cmd, Path(kwargs["cwd"]))
        for empty in _empty(view):
            empty.mkdir(mode=0o700, exist_ok=True)
        line = command(
            program,
            view,
            engine=self._engine,
            image=self.image,
            options=["--name", self._name, "--env-file", str(variables), *self._options()],
        )
        kwargs["env"] = dict(os.environ)  # the engine's own; nothing of it gets into the container
        return await super().launch_kernel(line, **kwargs)

    async def poll(self) -> int | None:
        """None while it runs, else how the kernel itself ended: negative for a signal."""
        code = await super().poll()
        if code is None and self._parent is None:
            found = await _engine(self._engine, "inspect", "--format", "{{.State.Pid}}", self._name)
            self._parent = int(found.output.strip() or 0) or None  # the container's first process
        return code

    async def send_signal(self, signum: int) -> None:
        """Send it to the container's first process, which passes it on."""
        await _engine(self._engine, "kill", "--signal", str(int(signum)), self._name)

    async def kill(self, restart: bool = False) -> None:
        """Remove the container with all that runs in it; its client ends by that."""
        await _engine(self._engine, "rm", "-f", self._name)

    async def cleanup(self, restart: bool = False) -> None:
        """Leave nothing behind, whatever became of the client."""
        if self._name:
            await self.kill()
        await super().cleanup(restart)

    @property
    def _engine(self) -> str:
        return find_engine(self.program or "podman") or self.program

    def _options(self) -> list[str]:
        size = f":size={self.tmp_bytes}" if self.tmp_bytes else ""
        options = ["--tmpfs", TEMPORARY + size, "--label", f"{LABEL}={self.server}"]
        for name, (soft, hard) in self.limits.items():
            options += ["--ulimit", f"{name.removeprefix('RLIMIT_').lower()}={soft}:{hard}"]
        if self.memory_bytes:
            options.append(f"--memory={self.memory_bytes}")
        if self.processes:
            options.append(f"--pids-limit={self.processes}")
        if self.cpus:
            options.append(f"--cpus={self.cpus}")
        return options


def _run(engine: str) -> list[str]:
    line = [engine, "run", "--rm", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
    for name, number in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC)):
        # An engine that may not raise limits fails with its own defaults, which are higher.
        hard = resource.getrlimit(number)[1]
        most = min(hard, ULIMIT) if hard != resource.RLIM_INFINITY else ULIMIT
        line += ["--ulimit", f"{name}={most}:{most}"]
    if Path(engine).name == "docker":  # its service is root; a rootless podman's root is the user
        return [*line, "--user", f"{os.getuid()}:{os.getgid()}"]
    return line


def _mount(source: Path, target: Path, mode: str) -> list[str]:
    return ["--volume", f"{source}:{target}:{mode}"]


def _empty(view: View) -> list[Path]:
    """A directory for each hidden path. Not a tmpfs: podman would fill it with what it hides."""
    return [view.runtime_directory / f"hidden{number}" for number in range(len(view.hidden))]


def _hidden(path: Path, empty: Path) -> list[str]:
    # Writable, because what is shown inside needs a place to be mounted at.
    return _mount(empty, path, "rw") if path.is_dir() else _mount(Path(os.devnull), path, "ro")


async def _engine(engine: str, *arguments: str) -> Completed:
    return await run([engine, *arguments], timeout_seconds=ENGINE_SECONDS)
