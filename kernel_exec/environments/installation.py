"""Packages come, change and go in an environment that exists."""

from collections.abc import Iterable
from dataclasses import replace

from kernel_exec.environments.editing import edited
from kernel_exec.environments.environment import Change, Environment, changes_between
from kernel_exec.environments.files import in_thread
from kernel_exec.environments.installer import Progress
from kernel_exec.environments.layers import KERNEL_REQUIREMENT
from kernel_exec.environments.metadata import write_requirements
from kernel_exec.environments.packages import installed, needed_by
from kernel_exec.environments.parts import Parts
from kernel_exec.environments.requirements import merge, name_of, names_only, parse_name
from kernel_exec.errors import InvalidInput

__all__ = ["install", "uninstall"]


async def install(
    parts: Parts,
    name: str,
    requirements: Iterable[str],
    *,
    upgrade: bool = False,
    offline: bool = False,
    on_progress: Progress | None = None,
) -> list[Change]:
    """See `Environments.install`."""
    wanted = parts.policy.parse_all(requirements)
    if not wanted:
        raise InvalidInput("No requirements were given.", "Name at least one package.")
    parts.get(name)
    doing = f"installing {', '.join(one.name for one in wanted)[:100]}"
    async with parts.exclusive(name, doing=doing, on_progress=on_progress):
        environment = parts.get(name)
        before = await in_thread(installed, environment.path)
        asked = merge(environment.requirements, wanted)
        # What was asked for earlier keeps its bounds; what lies in a place is not fetched again.
        texts = [*names_only(asked)]
        texts += [one.text for one in wanted if one.text not in texts]
        if "ipykernel" in before:
            texts.insert(0, KERNEL_REQUIREMENT)
        upgrades = [one.name for one in wanted] if upgrade else []
        async with edited(environment, parts.installer) as venv:
            await parts.installer.install(
                venv, texts, upgrade=upgrades, offline=offline, on_progress=on_progress
            )
            after = await in_thread(installed, venv)
            parts.policy.check_installed(after.keys() - before.keys())
            if venv != environment.path:
                write_requirements(venv, asked)
        if "ipykernel" in after:
            environment = replace(environment, launcher=None)
        parts.store.update(replace(environment, requirements=asked))
    return changes_between(before, after)


async def uninstall(
    parts: Parts, name: str, packages: Iterable[str], *, on_progress: Progress | None = None
) -> list[Change]:
    """See `Environments.uninstall`."""
    names = list(dict.fromkeys(map(parse_name, packages)))
    if not names:
        raise InvalidInput("No packages were given.", "Name at least one package.")
    parts.get(name)
    doing = f"uninstalling {', '.join(names)[:100]}"
    async with parts.exclusive(name, doing=doing, on_progress=on_progress):
        environment = parts.get(name)
        before = await in_thread(installed, environment.path)
        if missing := [one for one in names if one not in before]:
            raise InvalidInput(
                f"Not installed in {name!r}: {', '.join(missing)}.", "list_packages shows what is."
            )
        await _refuse_what_kernels_need(environment, names)
        asked = tuple(text for text in environment.requirements if name_of(text) not in names)
        async with edited(environment, parts.installer) as venv:
            await parts.installer.uninstall(venv, names, on_progress=on_progress)
            after = await in_thread(installed, venv)
            if venv != environment.path:
                write_requirements(venv, asked)
        parts.store.update(replace(environment, requirements=asked))
    return changes_between(before, after)


async def _refuse_what_kernels_need(environment: Environment, names: Iterable[str]) -> None:
    needed = await in_thread(needed_by, environment.path, "ipykernel", environment.python)
    if kept := [one for one in names if one in needed]:
        raise InvalidInput(
            f"{', '.join(kept)} cannot be removed: kernels in {environment.name!r} run by ipykernel, which "
            f"needs {'them' if len(kept) > 1 else 'it'}.",
            "To change the version, call install_packages with the version that you want.",
        )
