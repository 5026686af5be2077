"""What the provisioners have in common: a private directory, allowed variables, the view, the launcher."""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import psutil
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import Dict, Int, List, Unicode

from kernel_exec.kernels.provisioners.network import Proxy, proxy_variables
from kernel_exec.kernels.provisioners.view import View, hidden_paths, python_paths
from kernel_exec.settings import KERNEL_VARIABLES, Network

__all__ = ["LAUNCHER", "SandboxProvisioner", "launcher_command", "memory_file"]

HERE = Path(__file__).parent
LAUNCHER = HERE / "launcher.py"
RELAY = HERE / "relay.py"
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
# Shells, bubblewrap and catatonit report a process that a signal ended this way.
SIGNALLED = 128


class SandboxProvisioner(LocalProvisioner):
    """Starts a kernel that sees what its `view` says; what is named here comes from the kernelspec.

    In `kernel.json`: `"metadata": {"kernel_provisioner": {"provisioner_name": …, "config": {…}}}`.
    """

    writable = List(Unicode(), help="Directories to write to, besides the working directory")
    readable = List(Unicode(), help="Paths to read, besides the system and the kernel's own Python")
    data_directory = Unicode(help="Not seen, nor is what is hidden in a home directory, if they lie in these")
    network = Unicode("on", help="on, off or allow-list")
    network_allowed = List(Unicode(), help="host:port patterns for the allow-list")
    variables = List(Unicode(), default_value=list(KERNEL_VARIABLES), help="Environment variables passed on")
    marks = Dict(help="Variables for the kernel and what it starts, but not for what makes the sandbox")
    limits = Dict(help="Resource limits by name, as {'RLIMIT_NOFILE': [soft, hard]}")
    tmp_bytes = Int(0, help="Size of the private /tmp; 0 leaves it to the system")
    runtime_directory = Unicode(help="A private directory of mode 0700; made and removed when not given")
    program = Unicode(help="Path of the program that makes the sandbox; found when not given")

    _started: int | None = None  # the process that was started here
    _parent: int | None = None  # of the kernel, as it is seen from here
    _kernel: int | None = None
    _own_directory = False
    _proxy: Proxy | None = None

    @property
    def pid(self) -> int | None:
        """The kernel's own process, as it is seen from here."""
        if self._kernel is None and self._parent is not None:
            try:
                children = psutil.Process(self._parent).children()
            except psutil.Error:
                return self._started
            self._kernel = min((child.pid for child in children), default=None)
        return self._kernel or self._started

    @pid.setter
    def pid(self, pid: int | None) -> None:
        self._started = pid

    @property
    def directory(self) -> Path:
        """The kernel's private directory."""
        return Path(self.runtime_directory)

    def view(self, cmd: Sequence[str], working_directory: Path) -> View:
        """What the kernel started by *cmd* may see."""
        writable, readable = tuple(map(Path, self.writable)), tuple(map(Path, self.readable))
        if not any(map(working_directory.is_relative_to, writable)):
            writable = (working_directory, *writable)
        data = Path(self.data_directory)
        # What is mounted by itself stays as it was mounted, when another takes its place outside.
        needed = [one for one in python_paths(Path(cmd[0])) if not any(map(one.is_relative_to, readable))]
        return View(
            runtime_directory=self.directory,
            working_directory=working_directory,
            writable=writable,
            readable=(*needed, *readable),
            hidden=tuple(hidden_paths(data, [*writable, *readable])) if self.data_directory else (),
            network=cast(Network, self.network),
        )

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Give the kernel a private directory with its sockets in it, and the variables it may have."""
        if not self.runtime_directory:
            self.runtime_directory = tempfile.mkdtemp(prefix="kx")
            self._own_directory = True
            manager: Any = self.parent  # its ports could not be reached without a network
            manager.transport, manager.ip = "ipc", str(self.directory / "s")
            manager.connection_file = str(self.directory / "k.json")
        kwargs = await super().pre_launch(**kwargs)
        command: list[str] = kwargs["cmd"]
        kwargs["env"] = allowed(kwargs["env"], self.variables) | {
            "PATH": f"{Path(command[0]).parent}:{PATH}",
            "PYTHONNOUSERSITE": "1",
        }
        kwargs["cwd"] = os.path.realpath(kwargs.get("cwd") or ".")  # noqa: ASYNC240 - a few links
        if self.network == "allow-list":
            kwargs["env"] |= proxy_variables()
        return kwargs

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the command, and before it the way to the network that it needs."""
        self._parent = self._kernel = None
        if self.network == "allow-list":
            self._proxy = Proxy(self.directory / "p", self.network_allowed)
            await self._proxy.start()
        return await super().launch_kernel(cmd, **kwargs)

    async def poll(self) -> int | None:
        """None while it runs, else how the kernel itself ended: negative for a signal."""
        code = await super().poll()
        return code if code is None or code <= SIGNALLED else SIGNALLED - code

    async def cleanup(self, restart: bool = False) -> None:
        """Leave nothing behind."""
        await super().cleanup(restart)
        if self._proxy is not None:
            await self._proxy.stop()
        if self._own_directory and not restart:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.runtime_directory = ""


def allowed(variables: Mapping[str, str], patterns: Sequence[str]) -> dict[str, str]:
    """Those of *variables* whose name matches one of *patterns*, such as `LC_*`."""
    return {
        name: value
        for name, value in variables.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }


def launcher_command(
    program: Sequence[str],
    *,
    python: str,
    read: Sequence[str] = (),
    write: Sequence[str] = (),
    scope: bool = False,
    seccomp: int | str | None = None,
    limits: Mapping[str, Sequence[int]] = MappingProxyType({}),
    variables: Mapping[str, str] = MappingProxyType({}),
    supervise: bool = False,
) -> list[str]:
    """The command that takes restrictions on, then becomes *program*; that itself if there are none.

    See `launcher` for what they mean.
    """
    options = [
        *(f"read={path}" for path in read),
        *(f"write={path}" for path in write),
        *(["scope=1"] if scope else []),
        *([f"seccomp={seccomp}"] if seccomp is not None else []),
        *(f"limit={name}:{soft}:{hard}" for name, (soft, hard) in limits.items()),
        *(f"variable={name}={value}" for name, value in variables.items()),
        *(["supervise=1"] if supervise else []),
    ]
    return [python, "-I", "-S", str(LAUNCHER), *options, "--", *program] if options else list(program)


def relay_command(program: Sequence[str], socket: Path, *, python: str) -> list[str]:
    """The command that starts the relay to the proxy beside it, then becomes *program*."""
    return [python, "-I", "-S", str(RELAY), str(socket), *program]


def memory_file(content: bytes) -> int:
    """A descriptor to read *content* from."""
    descriptor = os.memfd_create("kernel-exec")
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
