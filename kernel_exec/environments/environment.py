"""What an environment is, and how two package sets differ."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

__all__ = ["Change", "Environment", "Package", "Source", "changes_between"]

Source = Literal["created", "cloned", "adopted"]


@dataclass(frozen=True, slots=True)
class Package:
    """An installed distribution, with the name that it gives itself."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Change:
    """What an installation did to one package. *old* is None when it is new, *new* when it is gone."""

    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class Environment:
    """A named virtual environment on disk, as it was when it was read.

    *requirements* is what was asked for, in order; what is installed is `Environments.packages`.
    *python* is a version such as `3.12.1`, *base_python* the interpreter that the venv was made from.
    An *adopted* one lies outside the data directory and is never removed from disk; if it has no
    ipykernel of its own, its kernels start through *launcher*. *broken* says why no code can run in
    it, and is empty when it is whole.
    """

    name: str
    path: Path
    python: str
    description: str
    created: datetime
    requirements: tuple[str, ...]
    source: Source
    base_python: Path
    launcher: Path | None = None
    broken: str = ""

    @property
    def python_executable(self) -> Path:
        """The venv's own interpreter. Not resolved: its location is what makes it the venv's."""
        return python_in(self.path)


def python_in(venv: Path) -> Path:
    """Where the interpreter of a venv is."""
    return venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def can_run(executable: Path) -> bool:
    """Whether there is a program at *executable*, through its links."""
    return executable.is_file() and os.access(executable, os.X_OK)


def changes_between(before: Mapping[str, Package], after: Mapping[str, Package]) -> list[Change]:
    """What became of each package, by name; packages that stayed as they were are left out."""
    changes = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        change = Change(
            name=(new or old or Package(key, "")).name,
            old=old.version if old else None,
            new=new.version if new else None,
        )
        if change.old != change.new:
            changes.append(change)
    return changes
