"""The installer's command lines, built and not run. Arguments are lists; `--` ends the options."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from uv import find_uv_bin

__all__ = [
    "base_python",
    "compile_bytecode",
    "env",
    "find_python",
    "install",
    "list_pythons",
    "lock",
    "make_venv",
    "sync",
    "uninstall",
]

# Each would make the installer, or the interpreters that it asks, act on something else than the venv
# that is named, or leave its modules without cached bytecode.
_HARMFUL = {
    "CONDA_PREFIX",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONPLATLIBDIR",
    "PYTHONPYCACHEPREFIX",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "UV_PROJECT_ENVIRONMENT",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "VIRTUAL_ENV",
    "__PYVENV_LAUNCHER__",
}
_PLAIN = ("--color", "never", "--no-progress", "--no-python-downloads")


def env() -> dict[str, str]:
    """The installer's environment variables: the operator's own, indexes and proxies included, without
    those that would lead it elsewhere.

    Certificates are those of the system unless the operator says otherwise, as in the other programs of
    the machine: hosts start servers without the variables that would name them.
    """
    kept = {name: value for name, value in os.environ.items() if name.upper() not in _HARMFUL}
    return {"UV_SYSTEM_CERTS": "1"} | kept


def make_venv(path: Path, python: Path) -> list[str]:
    """An empty venv for the interpreter *python*, whose scripts still work after it is renamed."""
    return [_uv(), "venv", *_PLAIN, "--no-project", "--relocatable", "--python", str(python), "--", str(path)]


def install(
    python: Path, requirements: Sequence[str], *, upgrade: Iterable[str] = (), offline: bool = False
) -> list[str]:
    """Install into the venv of *python*. The packages named in *upgrade* go to their newest version.

    When *offline*, only what the installer has cached is used.
    """
    options = [*_offline(offline), *(f"--upgrade-package={name}" for name in upgrade)]
    return [_uv(), "pip", "install", *_PLAIN, "--python", str(python), *options, "--", *requirements]


def uninstall(python: Path, packages: Sequence[str]) -> list[str]:
    """Remove *packages*, and nothing that they needed, from the venv of *python*."""
    return [_uv(), "pip", "uninstall", *_PLAIN, "--python", str(python), "--", *packages]


def sync(
    python: Path, requirements_file: Path, *, reinstall: Iterable[str] = (), offline: bool = False
) -> list[str]:
    """Make the venv of *python* hold exactly what *requirements_file* lists."""
    reinstalls = (f"--reinstall-package={name}" for name in reinstall)
    options = ["--allow-empty-requirements", *_offline(offline), *reinstalls]
    return [_uv(), "pip", "sync", *_PLAIN, *options, "--python", str(python), "--", str(requirements_file)]


def lock(python: Path, requirements_file: Path) -> list[str]:
    """Print the exact requirements in *requirements_file* as a pylock document (PEP 751)."""
    options = ["--format", "pylock.toml", "--no-deps", "--no-header", "--quiet"]
    return [_uv(), "pip", "compile", *_PLAIN, *options, "--python", str(python), "--", str(requirements_file)]


def compile_bytecode(python: Path, directory: Path) -> list[str]:
    """Compile what is not compiled below *directory*, at low priority."""
    code = (
        "import compileall, os, sys\n"
        "if hasattr(os, 'nice'): os.nice(19)\n"
        "compileall.compile_dir(sys.argv[1], quiet=2)\n"
    )
    return [str(python), "-I", "-c", code, str(directory)]


def find_python(request: str) -> list[str]:
    """Print the path of an installed interpreter for a version, a name or a path."""
    return [_uv(), "python", "find", *_PLAIN, "--no-project", "--system", "--", request]


def base_python(python: str | Path) -> list[str]:
    """Print the path of the interpreter that *python* is, or that its venv was made from."""
    code = "import sys; print(getattr(sys, '_base_executable', None) or sys.executable)"
    return [str(python), "-I", "-c", code]


def list_pythons() -> list[str]:
    """Print the installed interpreters as JSON."""
    return [_uv(), "python", "list", *_PLAIN, "--only-installed", "--output-format", "json"]


def _offline(offline: bool) -> list[str]:
    return ["--offline"] if offline else []


def _uv() -> str:
    return os.fspath(find_uv_bin())
