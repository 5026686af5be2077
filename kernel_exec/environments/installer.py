"""Runs the installer, and turns what it says into progress and errors."""

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kernel_exec.environments import commands
from kernel_exec.environments.environment import can_run, python_in
from kernel_exec.environments.files import write_whole
from kernel_exec.environments.packages import site_packages
from kernel_exec.environments.redaction import without_urls
from kernel_exec.errors import InstallFailed, InvalidInput
from kernel_exec.processes import Completed, run
from kernel_exec.settings import Settings

__all__ = ["Installer", "Progress", "Python"]

Progress = Callable[[str], None]

_WHOLE_LINES = 100  # as long as the explanations of a conflict are; the output of a build is longer
_LAST_LINES = 40
_ASKING_SECONDS = 60.0
_NOISE = "Using Python"  # its place is a passing one


@dataclass(frozen=True, slots=True)
class Python:
    """An interpreter on this machine."""

    version: str
    path: Path


class Installer:
    """The installer, with the operator's own configuration of indexes, proxies and caches.

    Every method raises InstallFailed when the installer fails or takes longer than the setting
    `package_timeout_seconds`. The installer's processes are gone when a call ends, however it ends.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def make_venv(self, venv: Path, python: Path) -> None:
        """Make an empty venv at *venv* for the interpreter *python*."""
        await self._run(commands.make_venv(venv, python), f"A venv for {python} could not be made")

    async def install(
        self,
        venv: Path,
        requirements: Sequence[str],
        *,
        upgrade: Iterable[str] = (),
        offline: bool = False,
        on_progress: Progress | None = None,
    ) -> None:
        """Install *requirements*; the packages named in *upgrade* go to their newest version."""
        command = commands.install(python_in(venv), requirements, upgrade=upgrade, offline=offline)
        await self._run(command, "The installation failed", on_progress)

    async def uninstall(
        self, venv: Path, packages: Sequence[str], *, on_progress: Progress | None = None
    ) -> None:
        """Remove *packages*."""
        command = commands.uninstall(python_in(venv), packages)
        await self._run(command, "The packages could not be removed", on_progress)

    async def sync(
        self,
        venv: Path,
        exact: str,
        *,
        reinstall: Iterable[str] = (),
        offline: bool = False,
        on_progress: Progress | None = None,
    ) -> None:
        """Make *venv* hold exactly what `packages.frozen` gave; those in *reinstall* are put in anew."""
        with _file_of(exact) as file:
            command = commands.sync(python_in(venv), file, reinstall=reinstall, offline=offline)
            await self._run(command, "The installation failed", on_progress)

    async def lock(self, venv: Path, exact: str) -> str:
        """What `packages.frozen` gave, as a pylock document; asks the index for files and hashes."""
        with _file_of(exact) as file:
            return await self._run(commands.lock(python_in(venv), file), "No lock could be made")

    async def compile_bytecode(self, venv: Path) -> None:
        """Compile what is not compiled in *venv*, at low priority; what cannot be compiled is left."""
        command = commands.compile_bytecode(python_in(venv), site_packages(venv))
        with suppress(TimeoutError, OSError):
            await self._start(command, self._settings.package_timeout_seconds)

    async def pythons(self) -> list[Python]:
        """The Pythons on this machine that the installer finds, by version."""
        known = json.loads(await self._ask(commands.list_pythons()) or "[]")
        # The first path of a version is the one that the installer would take.
        found = {one["version"]: Path(one["path"]) for one in reversed(known)}
        return [Python(version, found[version]) for version in sorted(found, key=_in_order)]

    async def find_python(self, request: str) -> Path:
        """The interpreter for a version such as `3.12`, or for a path; nothing is ever downloaded.

        Raises: InvalidInput, with the versions that are installed.
        """
        path = None
        if "/" in request or "\\" in request:
            path = str(self._settings.workspace / request)
        elif re.fullmatch(r"[A-Za-z0-9<>=!~][A-Za-z0-9.+_<>=!~,* -]{0,63}", request):
            path = await self._ask(commands.find_python(request))
        if path and can_run(Path(path)):
            # What was found may be a script that chooses a Python, or the Python of a venv.
            base = await self._ask(commands.base_python(path))
            if base and can_run(Path(base)):
                return Path(base)
        installed = [f"{python.version} ({python.path})" for python in await self.pythons()]
        raise InvalidInput(
            f"There is no Python {request[:80]!r} on this machine.",
            f"Installed: {', '.join(installed) or 'none'}. Give one of these versions or the path of an "
            "interpreter; Pythons are not downloaded.",
        )

    async def _run(self, command: Sequence[str], failure: str, on_progress: Progress | None = None) -> str:
        def show(line: str) -> None:
            if on_progress is not None and line.strip() and not line.startswith(_NOISE):
                on_progress(without_urls(line.strip()))

        limit = self._settings.package_timeout_seconds
        try:
            done = await self._start(command, limit, show)
        except TimeoutError:
            raise InstallFailed(
                f"{failure}: it took longer than {limit:g} s and was stopped.",
                "Raise the setting package_timeout_seconds, or install fewer packages at once.",
            ) from None
        except OSError as error:
            raise InstallFailed(f"{failure}: {error}.", "`kernel-exec doctor` finds out why.") from error
        if done.returncode != 0:
            lines = [line for line in done.errors.splitlines() if not line.startswith(_NOISE)]
            if len(lines) > _WHOLE_LINES:
                left_out = len(lines) - _LAST_LINES
                lines = [f"[{left_out} lines left out]", *lines[-_LAST_LINES:]]
            explanation = without_urls("\n".join(lines))
            raise InstallFailed(
                f"{failure}:\n{explanation}\n",
                "Nothing was changed. Check names and versions, or whether the package index can be reached.",
            )
        return done.output

    async def _ask(self, command: Sequence[str]) -> str | None:
        """What *command* prints; None when it fails in any way."""
        try:
            done = await self._start(command, _ASKING_SECONDS)
        except (TimeoutError, OSError):
            return None
        return done.output.strip() if done.returncode == 0 else None

    async def _start(
        self, command: Sequence[str], timeout_seconds: float, on_line: Progress | None = None
    ) -> Completed:
        return await run(
            command,
            timeout_seconds=timeout_seconds,
            env=commands.env(),
            cwd=self._settings.workspace,
            on_error_line=on_line,
        )


@contextmanager
def _file_of(text: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "requirements.in")
        write_whole(file, text)
        yield file


def _in_order(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))
