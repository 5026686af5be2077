"""How an environment comes to be: made anew, cloned, adopted, or rebuilt."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from kernel_exec.environments import metadata, trees
from kernel_exec.environments.editing import edited
from kernel_exec.environments.environment import Environment, can_run, python_in
from kernel_exec.environments.files import in_thread
from kernel_exec.environments.installer import Progress
from kernel_exec.environments.layers import KERNEL_REQUIREMENT, LAUNCHER, copy_layer
from kernel_exec.environments.packages import frozen, installed
from kernel_exec.environments.parts import Parts, silent
from kernel_exec.environments.requirements import Requested, inside, merge, names_only
from kernel_exec.errors import EnvironmentBroken, InstallFailed, InvalidInput

__all__ = ["adopt", "base_for", "make", "rebuild"]


async def make(
    parts: Parts,
    name: str,
    *,
    base: Path | None,
    wanted: Sequence[Requested],
    description: str,
    clone_from: str | None,
    offline: bool,
    on_progress: Progress | None,
) -> Environment:
    """Make *name* from the layer of *base* (default: the clone's, or the server's own Python)."""
    tell = on_progress or silent
    doing = f"creating {name!r}"
    async with parts.exclusive(name, clone_from or name, doing=doing, on_progress=on_progress):
        parts.store.refuse_existing(name)
        await in_thread(parts.store.sweep, name)
        source = parts.get(clone_from) if clone_from else None
        base = base or (source.base_python if source else _own_python())
        layer = await parts.layers.prepare(base, offline=offline, on_progress=on_progress)
        staging = trees.beside(parts.store.path(name), "new")
        try:
            tell(f"Making a venv with {base}")
            await in_thread(copy_layer, layer, staging)
            if source is not None:
                tell(f"Copying the packages of {source.name!r}")
                exact = await in_thread(frozen, source.path)
                await parts.installer.sync(staging, exact, offline=offline, on_progress=on_progress)
            if wanted:
                tell("Installing what was asked for")
            if wanted or source is not None:
                await _install(parts, staging, wanted, offline, on_progress)
            environment = Environment(
                name=name,
                path=parts.store.path(name),
                python=metadata.venv_python_version(staging),
                description=description,
                created=datetime.now(UTC),
                requirements=merge(source.requirements if source else (), wanted),
                source="cloned" if source else "created",
                base_python=python_in(staging).resolve(),
            )
            parts.store.commit(environment, staging)
        finally:
            await in_thread(parts.store.sweep, name)
    return environment


async def _install(
    parts: Parts, venv: Path, wanted: Sequence[Requested], offline: bool, on_progress: Progress | None
) -> None:
    before = await in_thread(installed, venv)
    if not wanted and "ipykernel" in before:
        return
    texts = [KERNEL_REQUIREMENT, *(one.text for one in wanted)]
    await parts.installer.install(venv, texts, offline=offline, on_progress=on_progress)
    parts.policy.check_installed((await in_thread(installed, venv)).keys() - before.keys())


async def adopt(
    parts: Parts,
    name: str,
    path: str,
    *,
    description: str,
    install_kernel: bool,
    offline: bool,
    on_progress: Progress | None,
) -> Environment:
    """Register the venv at *path*; without *install_kernel* nothing is ever written to it."""
    venv = inside(path, parts.settings.workspace)
    python = metadata.venv_python_version(venv)
    if not python or not can_run(python_in(venv)):
        raise InvalidInput(
            f"{path!r} is not a virtual environment: it needs a pyvenv.cfg and a Python that runs.",
            "Give the directory of a venv, or leave out `path` to make a new environment.",
        )
    async with parts.exclusive(name, doing=f"creating {name!r}", on_progress=on_progress):
        parts.store.refuse_existing(name)
        for other in parts.store.all():
            if other.path == venv:
                raise InvalidInput(
                    f"{path!r} is the environment {other.name!r} already.", "Use it by that name."
                )
        await in_thread(parts.store.sweep, name)
        environment = Environment(
            name=name,
            path=venv,
            python=python,
            description=description,
            created=datetime.now(UTC),
            requirements=(),
            source="adopted",
            base_python=python_in(venv).resolve(),
        )
        if "ipykernel" not in await in_thread(installed, venv):
            if install_kernel:
                async with edited(environment, parts.installer):
                    await parts.installer.install(
                        venv, [KERNEL_REQUIREMENT], offline=offline, on_progress=on_progress
                    )
            else:
                layer = await parts.layers.prepare(
                    environment.base_python, offline=offline, on_progress=on_progress
                )
                environment = replace(environment, launcher=layer / LAUNCHER)
        parts.store.commit(environment)
    return environment


async def rebuild(
    parts: Parts, name: str, *, offline: bool = False, on_progress: Progress | None = None
) -> Environment:
    """Make *name* whole again, keeping its name, description and packages.

    The versions that can still be read are installed again, exactly; when that cannot be, what was
    asked for is. On failure it is as it was. An adopted venv gets its kernelspec and its private
    ipykernel again; the venv itself is its owner's to mend.

    Raises: EnvironmentNotFound, EnvironmentBroken, EnvironmentBusy, InstallFailed, InvalidInput.
    """
    tell = on_progress or silent
    parts.store.read(name)
    async with parts.exclusive(name, doing=f"repairing {name!r}", on_progress=on_progress):
        await in_thread(parts.store.sweep, name)
        environment = parts.store.read(name)
        venv = environment.path
        if environment.source == "adopted":
            if not can_run(environment.python_executable):
                raise EnvironmentBroken(name, f"the adopted venv {venv} has no Python; make it anew there")
            if environment.launcher is not None:
                layer = await parts.layers.prepare(environment.base_python, offline=offline)
                environment = replace(environment, launcher=layer / LAUNCHER, broken="")
            parts.store.commit(replace(environment, broken=""))
            return parts.get(name)

        if not environment.python:  # the record was unreadable
            environment = replace(environment, python=metadata.venv_python_version(venv))
        base = environment.base_python
        if not can_run(base):
            minor = ".".join(environment.python.split(".")[:2])
            base = await base_for(parts, None, f"=={minor}.*" if minor else "")
        tell(f"Rebuilding {name!r} with {base}")
        layer = await parts.layers.prepare(base, offline=offline, on_progress=on_progress)
        exact = await in_thread(frozen, venv)
        staging = trees.beside(venv, "new")
        try:
            await in_thread(copy_layer, layer, staging)
            asked = names_only(environment.requirements)
            try:
                if not exact:
                    asked = environment.requirements
                else:
                    await parts.installer.sync(staging, exact, offline=offline, on_progress=on_progress)
            except InstallFailed:
                tell("Not every version can be had again; installing what was asked for")
                asked = environment.requirements
            texts = [KERNEL_REQUIREMENT, *asked]
            await parts.installer.install(staging, texts, offline=offline, on_progress=on_progress)
            environment = replace(
                environment,
                python=metadata.venv_python_version(staging),
                base_python=python_in(staging).resolve(),
                broken="",
            )
            parts.store.recommit(environment, staging)
        finally:
            await in_thread(parts.store.sweep, name)
    return parts.get(name)


async def base_for(parts: Parts, python: str | None, allowed: str) -> Path:
    """The interpreter to use: the one asked for, else the server's own if its version is *allowed*
    (PEP 440; empty for any), else one that is.

    Raises: InvalidInput, with the versions that are installed.
    """
    if python:
        return await parts.installer.find_python(python)
    own = ".".join(map(str, sys.version_info[:3]))
    try:
        if own in SpecifierSet(allowed):
            return _own_python()
    except InvalidSpecifier as error:
        raise InvalidInput(f"{allowed!r} is no range of Python versions.", "Give `python`.") from error
    return await parts.installer.find_python(allowed)


def _own_python() -> Path:
    # The interpreter below our own venv, which may be a passing one.
    return Path(getattr(sys, "_base_executable", "") or sys.executable)
