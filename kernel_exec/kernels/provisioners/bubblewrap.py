"""Start a kernel in namespaces of its own, by bubblewrap: https://github.com/containers/bubblewrap"""

import asyncio
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo

from kernel_exec.kernels.provisioners.base import (
    LAUNCHER,
    RELAY,
    SandboxProvisioner,
    launcher_command,
    memory_file,
    relay_command,
)
from kernel_exec.kernels.provisioners.launcher import SCOPE_VERSION, landlock_version
from kernel_exec.kernels.provisioners.seccomp import compiled
from kernel_exec.kernels.provisioners.view import ETC, LINKS, View, system_paths

__all__ = ["PROGRAM", "BubblewrapProvisioner", "command"]

PROGRAM = "bwrap"
TEMPORARY = "/tmp"  # noqa: S108 - the sandbox's own


def command(
    program: Sequence[str],
    view: View,
    *,
    bwrap: str,
    seccomp: int,
    info: int,
    marks: Mapping[str, str],
    tmp_bytes: int = 0,
) -> list[str]:
    """The command that runs *program* with this *view* only, and nothing above its own privileges.

    *seccomp* and *info* are file descriptors: of the compiled filter, and for what bwrap tells about
    itself. `--disable-userns` would need a newer bwrap; the filter refuses new user namespaces too.
    """
    size = ["--size", str(tmp_bytes)] if tmp_bytes else []
    line = [
        bwrap,
        "--unshare-user",
        "--unshare-ipc",
        "--unshare-uts",
        "--unshare-cgroup-try",
        "--unshare-pid",
    ]
    if view.network != "on":
        line.append("--unshare-net")
    line += ["--new-session", "--die-with-parent", "--cap-drop", "ALL"]
    for path in system_paths():
        line += _shown(path)
    for link in LINKS:
        if link.is_symlink():
            line += ["--symlink", str(link.readlink()), str(link)]
        elif link.is_dir():
            line += _shown(link)
    for path in ETC:
        line += ["--ro-bind-try", str(path), str(path)]
    line += ["--dev", "/dev", *size, "--tmpfs", "/dev/shm", "--proc", "/proc"]  # noqa: S108
    line += [*size, "--tmpfs", TEMPORARY]
    mounts = [
        *((path, ["--bind", str(path), str(path)]) for path in view.writable),
        *((path, _hidden(path)) for path in view.hidden),
        *((path, _shown(path)) for path in (*view.readable, LAUNCHER, RELAY)),
        (view.runtime_directory, ["--bind", *[str(view.runtime_directory)] * 2]),
    ]
    # What comes later lies on top: the environment is read-only also where it is inside the workspace,
    # and what is hidden is hidden also where it is inside something shown.
    for _, mount in sorted(mounts, key=lambda mount: len(mount[0].parts)):
        line += mount
    line += ["--remount-ro", "/"]
    # Its parent is process 1 of the namespace, not the server: with the server's number it would end.
    for name, value in {**marks, "JPY_PARENT_PID": "1", "HOME": TEMPORARY}.items():
        line += ["--setenv", name, value]
    line += ["--chdir", str(view.working_directory)]
    return [*line, "--seccomp", str(seccomp), "--info-fd", str(info), "--", *program]


class BubblewrapProvisioner(SandboxProvisioner):
    """Jupyter's name for it is `kernel-exec-bubblewrap`. Signals reach the kernel, not bwrap."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start bwrap and learn which process it made."""
        view = self.view(cmd, Path(kwargs["cwd"]))
        told, tell = os.pipe()
        seccomp = memory_file(compiled(internet=True))
        try:
            line = command(
                self._restricted(cmd),
                view,
                bwrap=self.program or shutil.which(PROGRAM) or PROGRAM,
                seccomp=seccomp,
                info=tell,
                marks=self.marks,
                tmp_bytes=self.tmp_bytes,
            )
            info = await super().launch_kernel(line, **kwargs, pass_fds=(seccomp, tell))
        except BaseException:
            os.close(told)
            raise
        finally:
            os.close(seccomp)
            os.close(tell)
        # To its end: if it is closed early, bwrap's first process hangs and keeps the kernel's output open.
        text = await asyncio.to_thread(_read_all, told)
        # That is process 1 of the namespace; it leads the group that signals are sent to.
        self._parent = self.pgid = json.loads(text or "{}").get("child-pid")
        return info

    def _restricted(self, cmd: list[str]) -> list[str]:
        """What bwrap cannot do: resource limits, and abstract sockets when the network is the host's."""
        scope = self.network == "on" and landlock_version() >= SCOPE_VERSION
        inner = launcher_command(cmd, python=cmd[0], limits=self.limits, scope=scope)
        if self.network == "allow-list":
            inner = relay_command(inner, self.directory / "p", python=cmd[0])
        return inner


def _shown(path: Path) -> list[str]:
    return ["--ro-bind", str(path), str(path)]


def _hidden(path: Path) -> list[str]:
    return ["--tmpfs", str(path)] if path.is_dir() else ["--ro-bind", "/dev/null", str(path)]


def _read_all(descriptor: int) -> str:
    with os.fdopen(descriptor) as file:
        return file.read()
