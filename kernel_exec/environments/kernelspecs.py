"""Kernelspecs: how a kernel of each environment is started, in the form that Jupyter itself reads."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager

from kernel_exec.environments.environment import Environment
from kernel_exec.environments.files import write_whole

__all__ = ["directory_of", "exists", "expose", "hide", "is_valid", "names", "remove", "write"]

_OURS = "kernel_exec_environment"


def directory_of(home: Path) -> Path:
    """The directory that holds one directory for each kernelspec; its parent is a `JUPYTER_PATH`."""
    return home / "jupyter" / "kernels"


def write(home: Path, environment: Environment) -> None:
    """Write the kernelspec of *environment*, which has the environment's name."""
    write_whole(_file(home, environment.name), _text(environment))


def exists(home: Path, name: str) -> bool:
    """Whether there is a kernelspec *name*."""
    return _file(home, name).is_file()


def is_valid(home: Path, environment: Environment) -> bool:
    """Whether the kernelspec of *environment* is there and starts its Python."""
    try:
        spec = json.loads(_file(home, environment.name).read_text(encoding="utf-8"))
        return bool(spec["argv"] == _argv(environment) and spec["language"] == "python")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def remove(home: Path, name: str) -> None:
    """Remove the kernelspec *name*, if there is one."""
    shutil.rmtree(_file(home, name).parent, ignore_errors=True)


def names(home: Path) -> list[str]:
    """The names of all kernelspecs that `write` made; somebody else's are left out."""
    return [file.parent.name for file in directory_of(home).glob("*/kernel.json") if _is_ours(file)]


def expose(environment: Environment, provisioner: Mapping[str, Any] | None = None) -> Path:
    """Put the kernelspec where the user's own Jupyter finds it; returns its directory.

    *provisioner* is what starts its kernels: the content of `metadata.kernel_provisioner`.
    """
    directory = _exposed(environment.name)
    write_whole(directory / "kernel.json", _text(environment, provisioner))
    return directory


def hide(name: str) -> bool:
    """Undo `expose`; False when there was nothing to undo. Somebody else's kernelspec is left alone."""
    directory = _exposed(name)
    if not _is_ours(directory / "kernel.json"):
        return False
    shutil.rmtree(directory, ignore_errors=True)
    return True


def _text(environment: Environment, provisioner: Mapping[str, Any] | None = None) -> str:
    metadata = {"debugger": True, "supported_encryption": ["curve"], _OURS: environment.name}
    spec = {
        "argv": _argv(environment),
        "display_name": f"{environment.name} (Python {environment.python})",
        "language": "python",
        # No signal reaches every kernel that another program starts.
        "interrupt_mode": "message" if provisioner else "signal",
        "metadata": metadata | ({"kernel_provisioner": dict(provisioner)} if provisioner else {}),
    }
    return json.dumps(spec, indent=2, ensure_ascii=False) + "\n"


def _argv(environment: Environment) -> list[str]:
    launcher = [str(environment.launcher)] if environment.launcher else ["-m", "ipykernel_launcher"]
    return [str(environment.python_executable), *launcher, "-f", "{connection_file}"]


def _is_ours(file: Path) -> bool:
    try:
        return _OURS in json.loads(file.read_text(encoding="utf-8"))["metadata"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _file(home: Path, name: str) -> Path:
    return directory_of(home) / name / "kernel.json"


def _exposed(name: str) -> Path:
    # With a prefix, so that it hides no kernelspec that the user already has.
    return Path(KernelSpecManager().user_kernel_dir) / f"kernel-exec-{name.lower()}"
