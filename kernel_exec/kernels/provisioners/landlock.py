"""Start a kernel that Landlock and seccomp restrict: where bubblewrap cannot make namespaces."""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo

from kernel_exec.kernels.provisioners.base import SandboxProvisioner, launcher_command, memory_file
from kernel_exec.kernels.provisioners.seccomp import compiled
from kernel_exec.kernels.provisioners.view import ETC, LINKS, View, system_paths

__all__ = ["LandlockProvisioner", "paths"]

KILL_SECONDS, POLL_SECONDS = 2.0, 0.01
DEVICES = ["/dev/null", "/dev/zero", "/dev/full", "/dev/ptmx", "/dev/pts", "/dev/shm"]  # noqa: S108
RANDOM = ["/dev/random", "/dev/urandom", "/sys/devices/system/cpu"]
# Not all of /proc: it tells of other processes, and of every socket's path in /proc/net/unix.
PROC = "cpuinfo filesystems loadavg meminfo stat sys uptime version vmstat"
PROC_SELF = "cgroup cmdline fd io limits maps mountinfo mounts smaps_rollup stat statm status"


def paths(view: View) -> tuple[list[str], list[str]]:
    """What may be read, and what may be written, with this *view*."""
    read = [*system_paths(), *LINKS, *ETC, *view.readable]
    proc = [
        *(f"/proc/{name}" for name in PROC.split()),
        *(f"/proc/self/{name}" for name in PROC_SELF.split()),
    ]
    write = [*view.writable, view.runtime_directory]
    return [*map(str, read), *RANDOM, *proc], [*map(str, write), *DEVICES]


class LandlockProvisioner(SandboxProvisioner):
    """Jupyter's name for it is `kernel-exec-landlock`."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the launcher, which becomes the kernel.

        Raises: RuntimeError, for what Landlock cannot do: it adds up what is allowed, so nothing inside an
        allowed directory can be hidden; and it knows no namespaces, so the network is all or nothing.
        """
        if self.network == "allow-list":
            raise RuntimeError("Landlock has no network allow-list")
        view = self.view(cmd, Path(kwargs["cwd"]))
        if view.hidden:
            raise RuntimeError(f"Landlock cannot hide {view.hidden[0]}, which lies inside what is shown")
        temporary = view.runtime_directory / "tmp"
        temporary.mkdir(mode=0o700, exist_ok=True)
        kwargs["env"] |= {"HOME": str(temporary), "TMPDIR": str(temporary)}
        seccomp = memory_file(compiled(internet=self.network == "on"))
        try:
            read, write = paths(view)
            line = launcher_command(
                cmd,
                python=sys.executable,
                read=read,
                write=write,
                scope=True,
                seccomp=seccomp,
                limits=self.limits,
                variables=self.marks,
                supervise=True,
            )
            info = await super().launch_kernel(line, **kwargs, pass_fds=(seccomp,))
        finally:
            os.close(seccomp)
        self._parent = self._started
        return info

    async def kill(self, restart: bool = False) -> None:
        """Let the launcher kill, for it knows what the code has left behind; then the launcher."""
        if self._started is not None and self.process is not None:
            self.process.terminate()
            with suppress(TimeoutError):
                async with asyncio.timeout(KILL_SECONDS):
                    while await self.poll() is None:  # noqa: ASYNC110 - it tells no event
                        await asyncio.sleep(POLL_SECONDS)
        await super().kill(restart)
