"""Changing a venv so that a failure, a cancellation or a crash leaves it as it was."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from kernel_exec.cleanup import finish
from kernel_exec.environments import trees
from kernel_exec.environments.environment import Environment
from kernel_exec.environments.files import in_thread
from kernel_exec.environments.installer import Installer
from kernel_exec.environments.packages import frozen, incomplete, installed
from kernel_exec.errors import InstallFailed

__all__ = ["edited"]

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def edited(environment: Environment, installer: Installer) -> AsyncIterator[Path]:
    """Give a venv to change in place of *environment*'s; the caller holds the lock.

    For a venv of ours it is a copy made of hard links, which takes the place of the original when the
    body ends well, in one step: nobody ever sees half of a change. What others write into the venv
    meanwhile is lost. An adopted venv is changed where it is (its scripts name their place) and brought
    back to the versions from before if the body fails.

    Raises: InstallFailed, saying so, when an adopted venv could not be brought back.
    """
    if environment.source != "adopted":
        staging = trees.beside(environment.path, "new")
        try:
            await in_thread(trees.linked_copy, environment.path, staging)
            yield staging
            trees.exchange(staging, environment.path)
        finally:
            await in_thread(trees.remove, staging)
        return

    exact = await in_thread(frozen, environment.path)
    before = await in_thread(installed, environment.path)
    broken_before = await in_thread(incomplete, environment.path)
    try:
        yield environment.path
    except BaseException as error:
        await finish(_bring_back(environment, installer, exact, before, broken_before, error))
        raise


async def _bring_back(
    environment: Environment,
    installer: Installer,
    exact: str,
    before: object,
    broken_before: list[str],
    error: BaseException,
) -> None:
    broken = set(await in_thread(incomplete, environment.path)) - set(broken_before)
    if not broken and await in_thread(installed, environment.path) == before:
        return
    try:
        await installer.sync(environment.path, exact, reinstall=sorted(broken))
    except InstallFailed as second:
        _log.error("an adopted venv could not be brought back", environment=environment.name)
        if isinstance(error, Exception):  # a cancellation must go on as one
            raise InstallFailed(
                f"{error}\nThe venv {environment.path} could not be brought back as it was: {second.message}",
                f"It held: {', '.join(exact.splitlines())[:2_000]}.",
            ) from error
