"""All named environments of one data directory."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import structlog

from kernel_exec.environments import care, creation, installation, kernelspecs, sources, trees
from kernel_exec.environments.care import Health, Unused
from kernel_exec.environments.environment import Change, Environment, Package
from kernel_exec.environments.files import in_thread
from kernel_exec.environments.installer import Progress, Python
from kernel_exec.environments.packages import frozen, import_names, installed
from kernel_exec.environments.parts import Parts
from kernel_exec.environments.redaction import without_credentials
from kernel_exec.errors import (
    EnvironmentBroken,
    EnvironmentBusy,
    EnvironmentExists,
    EnvironmentNotFound,
    InvalidInput,
    KernelExecError,
    known,
)
from kernel_exec.names import check_name
from kernel_exec.settings import Settings

__all__ = ["Environments"]

log = structlog.get_logger(__name__)

# What makes or changes an environment mostly starts a kernel next, which should have the processor.
COMPILE_AFTER_SECONDS = 15

# Below, `list` is a method.
Changes = list[Change]
Packages = list[Package]
Pythons = list[Python]
Unuseds = list[Unused]


class Environments:
    """The environments of one data directory. Several of these, in several processes, may share it.

    One writer at a time changes an environment, and a waiting one tells *on_progress* whom it waits
    for; reading never waits. A crash at any point leaves an environment whole or absent. Besides what
    a method says it raises InvalidName for a name that none can have.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._parts = Parts(settings)
        self._compiling: dict[str, asyncio.Task[None]] = {}

    def get(self, name: str) -> Environment:
        """The environment *name*, whole. Cheap: reads a small file and looks at three others.

        Raises: EnvironmentNotFound, with the known ones; EnvironmentBroken.
        """
        return self._parts.get(name)

    async def ensure(self, name: str, *, on_progress: Progress | None = None) -> Environment:
        """The environment *name*, marked as used now; the default one is created on first use, once for
        all callers.

        Raises: what `get` raises, and what `create` raises for the default environment.
        """
        try:
            environment = self.get(name)
            self.mark_used(name)
            return environment
        except EnvironmentBroken:
            await self._sweep()  # a crash may have cut off an exchange
            return self.get(name)
        except EnvironmentNotFound:
            if name != self._settings.default_environment:
                raise
        with suppress(EnvironmentExists):  # another caller or process was faster
            return await self.create(name, on_progress=on_progress)
        return self.get(name)

    async def list(self) -> list[Environment]:
        """All environments in order of name; broken ones are among them, with `broken` set.

        What a killed process left behind is removed on the way, if no one is at work on it.
        """
        await self._sweep()
        return self._parts.store.all()

    async def create(
        self,
        name: str,
        *,
        python: str | None = None,
        packages: Iterable[str] = (),
        requirements_file: str | None = None,
        preset: str | None = None,
        description: str = "",
        clone_from: str | None = None,
        path: str | Path | None = None,
        install_kernel: bool = False,
        offline: bool = False,
        on_progress: Progress | None = None,
    ) -> Environment:
        """Create *name* in one of three ways. On failure and on cancellation it does not exist.

        Anew, for *python* (a version, a range or the path of an interpreter; default: the server's
        own), with ipykernel and what *packages*, *requirements_file* (see `sources.read`) and *preset*
        (of the settings) ask for. As a copy of *clone_from*, with its exact versions, and all that. Or
        by registering the venv at *path* (relative to the workspace), which is never removed from
        disk; if it has no ipykernel, kernels start through a private one and the venv is never written
        to, unless *install_kernel* puts ipykernel there. *offline* works from what is cached.

        Raises: InvalidInput, InvalidRequirement, PathNotAllowed, EnvironmentExists,
        EnvironmentNotFound and EnvironmentBroken (of *clone_from*), EnvironmentBusy, InstallFailed.
        """
        check_name(name, "environment")
        packages = [packages] if isinstance(packages, str) else [*packages]
        self._parts.store.refuse_existing(name)
        if path is not None:
            if packages or python or clone_from or requirements_file or preset:
                raise InvalidInput("`path` can only be combined with `description` and `install_kernel`.")
            return await creation.adopt(
                self._parts,
                name,
                str(path),
                description=description,
                install_kernel=install_kernel,
                offline=offline,
                on_progress=on_progress,
            )
        if install_kernel:
            raise InvalidInput("`install_kernel` is for `path`; a new environment always has ipykernel.")
        if preset is not None:
            if preset not in self._settings.presets:
                raise InvalidInput(f"No preset {preset!r}.", f"Presets: {known(self._settings.presets)}.")
            packages += self._settings.presets[preset]
        allowed_pythons = ""
        if requirements_file is not None:
            listed = sources.read(requirements_file, self._settings.workspace)
            packages, allowed_pythons = [*packages, *listed.requirements], listed.python
        wanted = self._parts.policy.parse_all(packages)
        if clone_from is not None:
            self.get(clone_from)
        base = None
        if python or not clone_from:
            base = await creation.base_for(self._parts, python, allowed_pythons)
        made = await creation.make(
            self._parts,
            name,
            base=base,
            wanted=wanted,
            description=description,
            clone_from=clone_from,
            offline=offline,
            on_progress=on_progress,
        )
        self._compile_later(name)
        return made

    async def describe(self, name: str, description: str) -> Environment:
        """Set the description. Works on a broken environment too, unless its record is unreadable.

        Raises: EnvironmentNotFound, EnvironmentBroken, EnvironmentBusy.
        """
        self._parts.store.read(name)
        async with self._parts.exclusive(name, doing=f"describing {name!r}"):
            environment = self._parts.store.read(name)
            if not environment.python:
                raise EnvironmentBroken(name, environment.broken)
            environment = replace(environment, description=description)
            self._parts.store.update(environment)
        return environment

    async def delete(self, name: str, *, on_progress: Progress | None = None) -> None:
        """Delete *name*; an adopted venv is only forgotten. Whoever uses it is not asked.

        Raises: EnvironmentNotFound, EnvironmentBusy.
        """
        self._parts.store.read(name)
        async with self._parts.exclusive(name, doing=f"deleting {name!r}", on_progress=on_progress):
            self._parts.store.read(name)
            await self._stop_compiling(name)
            await in_thread(kernelspecs.hide, name)
            await in_thread(self._parts.store.forget, name)

    async def install(
        self,
        name: str,
        requirements: Iterable[str],
        *,
        upgrade: bool = False,
        offline: bool = False,
        on_progress: Progress | None = None,
    ) -> Changes:
        """Install *requirements* into *name*; *upgrade* takes the newest versions of those named.

        What was asked for earlier, and ipykernel, stay satisfied, or the installer explains the
        conflict. Running kernels never see a half-installed package. On failure and on cancellation
        the environment is as it was before.

        Raises: InvalidInput, InvalidRequirement, PathNotAllowed, EnvironmentNotFound,
        EnvironmentBroken, EnvironmentBusy, InstallFailed.
        """
        changes = await installation.install(
            self._parts, name, requirements, upgrade=upgrade, offline=offline, on_progress=on_progress
        )
        self._compile_later(name)
        return changes

    async def uninstall(
        self, name: str, packages: Iterable[str], *, on_progress: Progress | None = None
    ) -> Changes:
        """Remove *packages* (bare names) from *name*, and nothing that they needed.

        Raises: InvalidRequirement; InvalidInput when one is not installed, or is ipykernel or needed
        by it; EnvironmentNotFound, EnvironmentBroken, EnvironmentBusy, InstallFailed.
        """
        return await installation.uninstall(self._parts, name, packages, on_progress=on_progress)

    async def packages(self, name: str) -> Packages:
        """What is installed in *name*, in order of name. Never waits for a writer.

        Raises: EnvironmentNotFound, EnvironmentBroken.
        """
        return [*(await in_thread(installed, self.get(name).path)).values()]

    async def import_names(self, name: str) -> dict[str, frozenset[str]]:
        """What each package in *name*, by its normalised name, is imported as.

        Raises: EnvironmentNotFound, EnvironmentBroken.
        """
        return await in_thread(import_names, self.get(name).path)

    async def export(self, name: str, format: Literal["requirements", "pylock"] = "requirements") -> str:
        """The exact versions in *name*, as requirements lines or as a pylock document (PEP 751).

        The latter asks the index for files and hashes. Neither names an index or holds credentials.

        Raises: EnvironmentNotFound, EnvironmentBroken, InstallFailed.
        """
        environment = self.get(name)
        text = await in_thread(frozen, environment.path)
        if format == "pylock":
            text = await self._parts.installer.lock(environment.path, text)
            text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("index "))
        return without_credentials(text)

    async def size_bytes(self, name: str) -> int:
        """The disk that *name* takes; see `trees.size_bytes` for what is counted.

        Raises: EnvironmentNotFound.
        """
        return await in_thread(trees.size_bytes, self._parts.store.read(name).path)

    async def close(self) -> None:
        """Stop what is done in the background."""
        await asyncio.gather(*map(self._stop_compiling, [*self._compiling]))

    def _compile_later(self, name: str) -> None:
        """Compile in the background, so that the caller can go on; `close` ends it."""

        async def compile_all() -> None:
            await asyncio.sleep(COMPILE_AFTER_SECONDS)
            try:
                await self.compile(name)
            except (KernelExecError, TimeoutError, OSError) as error:
                log.info("not compiled", environment=name, error=str(error))

        if name in self._compiling:
            self._compiling[name].cancel()
        self._compiling[name] = asyncio.create_task(compile_all(), name=f"compile {name}")

    async def _stop_compiling(self, name: str) -> None:
        if task := self._compiling.pop(name, None):
            task.cancel()
            await asyncio.wait({task})

    async def compile(self, name: str) -> None:
        """Compile what is not compiled in *name*, at low priority, so that first imports are fast.

        `create` and `install` have this done in the background: it takes seconds, needs no lock and may
        be cancelled. An adopted venv is left alone.

        Raises: EnvironmentNotFound, EnvironmentBroken.
        """
        environment = self.get(name)
        if environment.source == "adopted":
            return
        # The layer first: it is what the next environments are made of.
        layer = self._parts.layers.path(environment.base_python)
        for venv in (layer, environment.path):
            if venv.is_dir():
                await self._parts.installer.compile_bytecode(venv)

    async def repair(
        self, name: str, *, offline: bool = False, on_progress: Progress | None = None
    ) -> Environment:
        """Rebuild *name*, keeping its name, description and packages; see `creation.rebuild`."""
        return await creation.rebuild(self._parts, name, offline=offline, on_progress=on_progress)

    async def health(self, name: str) -> Health:
        """Look at all of *name*. Takes up to a second; never waits for a writer.

        Raises: EnvironmentNotFound.
        """
        return await care.check(self._parts, name)

    async def prune(
        self, unused_for: timedelta, *, keep: Collection[str] = (), dry_run: bool = False
    ) -> Unuseds:
        """Delete what nobody used for *unused_for*, and layers of Pythons that are gone.

        Spares the default environment, adopted ones and *keep* (those with live sessions). Returns
        what was deleted, or with *dry_run* would be, longest unused first.

        Raises: EnvironmentBusy.
        """
        found = await care.unused(self._parts, unused_for, keep)
        if not dry_run:
            for one in found:
                with suppress(EnvironmentNotFound):
                    await self.delete(one.environment.name)
            launchers = [one.launcher for one in await self.list() if one.launcher is not None]
            await in_thread(self._parts.layers.discard_unused, launchers)
        return found

    def last_used(self, environment: Environment) -> datetime:
        """When *environment* was last marked as used; its creation if it never was."""
        return self._parts.store.last_used(environment)

    def mark_used(self, name: str) -> None:
        """Remember for `prune` that *name* was used now."""
        self._parts.store.mark_used(name)

    def expose(self, name: str, provisioner: Mapping[str, Any] | None = None) -> Path:
        """Put the kernelspec of *name* where the user's own Jupyter finds it; returns its directory.

        *provisioner*, the content of `metadata.kernel_provisioner`, starts its kernels.

        Raises: EnvironmentNotFound, EnvironmentBroken.
        """
        return kernelspecs.expose(self.get(name), provisioner)

    def hide(self, name: str) -> bool:
        """Undo `expose`; False when there was nothing to undo.

        Raises: EnvironmentNotFound.
        """
        self._parts.store.read(name)
        return kernelspecs.hide(name)

    async def pythons(self) -> Pythons:
        """The Pythons on this machine that environments can be created for, by version."""
        return await self._parts.installer.pythons()

    async def _sweep(self) -> None:
        for name in await in_thread(self._parts.store.leftovers):
            with suppress(EnvironmentBusy):
                async with self._parts.locks.exclusive(name, "removing leftovers", wait_seconds=0):
                    await in_thread(self._parts.store.sweep, name)
