"""ipykernel and all that it needs, made once for each Python: what new environments are made of.

A layer is a venv of its own with its bytecode compiled. An environment is a copy of it made of hard
links, so the second one needs no network and no compiler. An adopted venv without ipykernel borrows
the layer: its kernel starts through the layer's launcher, and the venv is never written to.
"""

import hashlib
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from kernel_exec.environments import commands, trees
from kernel_exec.environments.environment import can_run, python_in
from kernel_exec.environments.files import in_thread, write_whole
from kernel_exec.environments.installer import Installer, Progress
from kernel_exec.environments.locks import Locks
from kernel_exec.processes import run

__all__ = ["KERNEL_REQUIREMENT", "LAUNCHER", "Layers", "copy_layer"]

KERNEL_REQUIREMENT = "ipykernel>=6.29"
LAUNCHER = "kernel-exec-launch.py"

_LAUNCHER_TEXT = '''\
"""Starts a kernel in a venv that has no ipykernel: this one's is found after all that the venv has."""

import runpy
import sys
from pathlib import Path

here = Path(__file__).parent
sys.path.pop(0)  # the directory of this file
sys.path.extend(str(path) for path in [*here.glob("lib/*/site-packages"), here / "Lib/site-packages"])
runpy.run_module("ipykernel_launcher", run_name="__main__", alter_sys=True)
'''

# A kernel is set up, though not run, so that exactly what a start imports is compiled.
_WARM_UP = """
import os, sys
import ipykernel_launcher
from ipykernel.kernelapp import IPKernelApp
IPKernelApp.instance().initialize(["-f", os.path.join(sys.argv[1], "kernel.json")])
os._exit(0)
"""
_WARM_UP_SECONDS = 60.0


class Layers:
    """The layers of one data directory, in `<home>/layers`. A layer that has its final name is whole."""

    def __init__(self, home: Path, installer: Installer, lock_wait_seconds: float) -> None:
        self.directory = home / "layers"
        self._installer = installer
        self._locks = Locks(self.directory, lock_wait_seconds)

    def path(self, base_python: Path) -> Path:
        """Where the layer for the interpreter *base_python* is, or will be."""
        python = base_python.resolve()
        status = python.stat()  # an interpreter that was replaced gets a new layer
        identity = f"{python}|{status.st_size}|{status.st_mtime_ns}|{KERNEL_REQUIREMENT}"
        return self.directory / hashlib.sha256(identity.encode()).hexdigest()[:16]

    async def prepare(
        self, base_python: Path, *, offline: bool = False, on_progress: Progress | None = None
    ) -> Path:
        """The layer for *base_python*, made if there is none; one caller makes it, others wait.

        Raises: InstallFailed, EnvironmentBusy.
        """
        layer = self.path(base_python)
        if layer.is_dir():
            return layer

        def tell(text: str) -> None:
            if on_progress is not None:
                on_progress(text)

        doing = f"preparing ipykernel for {base_python}"
        async with self._locks.exclusive(layer.name, doing, on_wait=lambda who: tell(f"Waiting for {who}")):
            if layer.is_dir():
                return layer
            for leftover in self.directory.glob(f".{layer.name}.*.new"):
                await in_thread(trees.remove, leftover)
            staging = trees.beside(layer, "new")
            try:
                tell(f"Preparing ipykernel for {base_python}, once")
                await self._installer.make_venv(staging, base_python)
                await self._installer.install(
                    staging, [KERNEL_REQUIREMENT], offline=offline, on_progress=on_progress
                )
                await _warm_up(staging)
                write_whole(staging / LAUNCHER, _LAUNCHER_TEXT)
                staging.rename(layer)
            finally:
                await in_thread(trees.remove, staging)
        return layer

    def discard_unused(self, launchers: Iterable[Path]) -> list[Path]:
        """Remove the layers whose interpreter is gone or was replaced, except those of *launchers*."""
        kept = {launcher.parent for launcher in launchers}
        removed = []
        for layer in self.directory.glob("[0-9a-f]*"):
            python = python_in(layer)
            current = can_run(python) and self.path(python).name == layer.name
            if not current and layer not in kept:
                trees.remove(layer)
                removed.append(layer)
        return removed


def copy_layer(layer: Path, venv: Path) -> None:
    """Make *venv* from *layer*: hard links, but a configuration of its own."""
    trees.linked_copy(layer, venv)
    (venv / LAUNCHER).unlink()
    configuration = (venv / "pyvenv.cfg").read_text(encoding="utf-8")
    write_whole(venv / "pyvenv.cfg", configuration)


async def _warm_up(venv: Path) -> None:
    # Only speed depends on it: a kernel that cannot start will say so when it is wanted.
    with suppress(TimeoutError, OSError), tempfile.TemporaryDirectory() as directory:
        await run(
            [python_in(venv), "-c", _WARM_UP, directory],
            timeout_seconds=_WARM_UP_SECONDS,
            env=commands.env() | {"IPYTHONDIR": directory},
        )
