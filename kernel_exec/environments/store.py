"""The data directory of the environments: read, commit, forget, and sweep what a crash left behind."""

import re
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from kernel_exec.environments import kernelspecs, metadata, trees
from kernel_exec.environments.environment import Environment, can_run
from kernel_exec.errors import EnvironmentExists, EnvironmentNotFound
from kernel_exec.names import NAME_PATTERN, check_name

__all__ = ["Store"]

_HIDDEN = re.compile(rf"\.({NAME_PATTERN})\.(?:json\.|holder\.)?[0-9a-f]{{8}}\.(?:new|old|tmp)")


class Store:
    """Where environments lie. Nothing here waits or locks: a writer holds the lock of the name.

    A record (`metadata`) is what makes a directory an environment: it is written last and removed
    first, so that a crash leaves an environment whole or absent.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.directory = home / "environments"

    def prepare(self) -> None:
        """Make the data directory, which only its owner can look into."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.mkdir(mode=0o700, exist_ok=True)

    def names(self) -> list[str]:
        """All environments, broken ones too, in order of name."""
        stems = (file.stem for file in self.directory.glob("*.json"))
        return sorted(stem for stem in stems if re.fullmatch(NAME_PATTERN, stem))

    def path(self, name: str) -> Path:
        """Where the venv of *name* is, unless it is adopted."""
        return self.directory / name

    def read(self, name: str) -> Environment:
        """The environment *name*, marked when it is broken.

        Raises: InvalidName, EnvironmentNotFound.
        """
        check_name(name, "environment")
        try:
            environment = metadata.read(self.directory, name)
        except FileNotFoundError:
            raise EnvironmentNotFound(name, self.names()) from None
        return replace(environment, broken=environment.broken or self._what_is_gone(environment))

    def all(self) -> list[Environment]:
        """Every environment, marked when it is broken, in order of name."""
        found = []
        for name in self.names():
            with suppress(EnvironmentNotFound):  # deleted meanwhile
                found.append(self.read(name))
        return found

    def refuse_existing(self, name: str) -> None:
        """Raises: EnvironmentExists. Names that differ only in case are one: some file systems, and
        Jupyter everywhere, cannot tell them apart.
        """
        for existing in self.names():
            if existing.lower() == name.lower():
                raise EnvironmentExists(existing)

    def commit(self, environment: Environment, staging: Path | None = None) -> None:
        """Make *environment* exist, or change its record; a new venv comes from *staging*."""
        if staging is not None:
            metadata.write_requirements(staging, environment.requirements)
        kernelspecs.write(self.home, environment)
        if staging is not None:
            staging.rename(environment.path)
        metadata.write(self.directory, environment)

    def recommit(self, environment: Environment, staging: Path) -> None:
        """Put the venv in *staging* in the place of *environment*'s, which may be gone."""
        metadata.write_requirements(staging, environment.requirements)
        if environment.path.exists():
            trees.exchange(staging, environment.path)
        else:
            staging.rename(environment.path)
        self.update(environment)

    def update(self, environment: Environment) -> None:
        """Write the record and the kernelspec of *environment*, which exists."""
        kernelspecs.write(self.home, environment)
        metadata.write(self.directory, environment)

    def mark_used(self, name: str) -> None:
        """Remember that *name* was used now."""
        with suppress(OSError):  # only pruning depends on it
            self._used(name).touch()

    def last_used(self, environment: Environment) -> datetime:
        """When *environment* was last marked as used; its creation if it never was."""
        try:
            return datetime.fromtimestamp(self._used(environment.name).stat().st_mtime, UTC)
        except OSError:
            return environment.created

    def _used(self, name: str) -> Path:
        return self.directory / f".{name}.used"

    def forget(self, name: str) -> None:
        """End the existence of *name*, and remove what is left of it."""
        metadata.record_of(self.directory, name).unlink()
        self.sweep(name)

    def leftovers(self) -> set[str]:
        """The names on which unfinished work, or work that goes on right now, left something."""
        known, found = set(self.names()), set[str]()
        for entry in self.directory.glob("*"):
            if entry.is_dir() and re.fullmatch(NAME_PATTERN, entry.name) and entry.name not in known:
                found.add(entry.name)
            if match := _HIDDEN.fullmatch(entry.name):
                found.add(match[1])
        return found | (set(kernelspecs.names(self.home)) - known)

    def sweep(self, name: str) -> None:
        """Remove what unfinished work on *name* left behind."""
        path = self.path(name)
        if not metadata.record_of(self.directory, name).exists():
            kernelspecs.remove(self.home, name)
            self._used(name).unlink(missing_ok=True)
            if path.exists():
                path.rename(trees.beside(path, "old"))
        elif not path.exists():
            # An exchange in three steps was cut off after its first.
            for old in self.directory.glob(f".{name}.*.old"):
                old.rename(path)
                break
        for leftover in self.directory.glob(f".{name}.*"):
            if not _HIDDEN.fullmatch(leftover.name):
                continue
            if leftover.is_dir():
                trees.remove(leftover)
            else:
                leftover.unlink(missing_ok=True)

    def _what_is_gone(self, environment: Environment) -> str:
        if not environment.path.is_dir():
            return f"its directory {environment.path} is gone"
        if not can_run(environment.python_executable):
            return f"its Python {environment.python_executable} is gone"
        if environment.launcher is not None and not environment.launcher.is_file():
            return f"its private ipykernel {environment.launcher} is gone"
        if not kernelspecs.exists(self.home, environment.name):
            return "its kernelspec is gone"
        return ""
