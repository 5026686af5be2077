"""The record of an environment: a JSON file beside its directory. Where it is, the environment exists."""

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from kernel_exec.environments.environment import Environment, Source
from kernel_exec.environments.files import write_whole

__all__ = ["read", "record_of", "venv_python_version", "write", "write_requirements"]

# What was asked for lies in the venv as well, so that one exchange of directories changes both the
# packages and the record of them.
_REQUIREMENTS = "kernel-exec-requirements.txt"


def record_of(directory: Path, name: str) -> Path:
    """Where the record of *name* is, in the directory of all environments."""
    return directory / f"{name}.json"


def write(directory: Path, environment: Environment) -> None:
    """Write the record whole; from then on the environment exists."""
    fields = {
        "description": environment.description,
        "created": environment.created.isoformat(),
        "python": environment.python,
        "base_python": str(environment.base_python),
        "requirements": list(environment.requirements),
        "source": environment.source,
    }
    if environment.source == "adopted":
        fields["path"] = str(environment.path)
    if environment.launcher is not None:
        fields["launcher"] = str(environment.launcher)
    text = json.dumps(fields, indent=2, ensure_ascii=False)
    write_whole(record_of(directory, environment.name), text + "\n")


def read(directory: Path, name: str) -> Environment:
    """Read the record of *name*; one that cannot be understood gives an environment marked as broken.

    Raises: FileNotFoundError.
    """
    file = record_of(directory, name)
    text = file.read_text(encoding="utf-8", errors="replace")
    try:
        fields = json.loads(text)
        if fields["source"] not in get_args(Source):
            raise ValueError(f"unknown source {fields['source']!r}")
        path = Path(fields.get("path", directory / name))
        environment = Environment(
            name=name,
            path=path,
            python=str(fields["python"]),
            description=str(fields["description"]),
            created=datetime.fromisoformat(fields["created"]),
            requirements=tuple(map(str, fields["requirements"])),
            source=fields["source"],
            base_python=Path(fields["base_python"]),
            launcher=Path(fields["launcher"]) if "launcher" in fields else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        environment = Environment(
            name=name,
            path=directory / name,
            python="",
            description="",
            created=datetime.fromtimestamp(file.stat().st_mtime, UTC),
            requirements=(),
            source="created",
            base_python=Path(),
            broken=f"its record {file} cannot be read",
        )
    return _with_requirements_of_venv(environment)


def write_requirements(venv: Path, requirements: Iterable[str]) -> None:
    """Put what was asked for into a venv of ours, where it wins over the record."""
    write_whole(venv / _REQUIREMENTS, "".join(f"{line}\n" for line in requirements))


def _with_requirements_of_venv(environment: Environment) -> Environment:
    try:
        text = (environment.path / _REQUIREMENTS).read_text(encoding="utf-8")
    except OSError:
        return environment
    return replace(environment, requirements=tuple(text.splitlines()))


def venv_python_version(venv: Path) -> str:
    """The Python version that `pyvenv.cfg` gives, such as `3.12.1`; empty when *venv* is no venv."""
    try:
        lines = (venv / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    values = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    version = values.get("version_info") or values.get("version") or ""  # uv and virtualenv; the stdlib
    return ".".join(version.split(".")[:3])
