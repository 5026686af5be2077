"""`kernel-exec env`: environments from the command line, as the tools see them."""

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer
from rich.text import Text

from kernel_exec.cli.terminal import Commands, err, out, run_to_end, table, working
from kernel_exec.environments import Change, Environments, Unused
from kernel_exec.errors import InvalidInput, KernelExecError, known
from kernel_exec.kernels.isolation import kernel_provisioner
from kernel_exec.runtime import sessions_by_environment
from kernel_exec.settings import load_settings

__all__ = ["app"]

Result = TypeVar("Result")
Tell = Callable[[str], None]

app = typer.Typer(
    name="env",
    cls=Commands,
    no_args_is_help=True,
    help="Create, list, change, repair and delete environments: named virtual environments with ipykernel.",
)

Name = Annotated[str, typer.Argument(metavar="ENVIRONMENT", help="Name of the environment.")]
Offline = Annotated[bool, typer.Option("--offline", help="Use only what is cached; say what is missing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,5})([hdw])", text)
    if match is None:
        raise typer.BadParameter("give a number and a unit: 12h, 30d or 4w")
    return int(match[1]) * UNITS[match[2]]


def _at_work(doing: str, work: Callable[[Environments, Tell], Coroutine[Any, Any, Result]]) -> Result:
    """Run *work* with a line that says what goes on.

    What environments do in the background (compiling) is not waited for: first imports do it as well.
    """

    async def whole() -> Result:
        environments = Environments(load_settings())
        try:
            return await work(environments, tell)
        finally:
            await environments.close()

    with working(doing) as tell:
        return run_to_end(whole())


@app.command("list")
def list_environments() -> None:
    """List environments with Python version, packages, disk, last use, open sessions and description."""

    async def read(environments: Environments, _: Tell) -> list[tuple[str | Text, ...]]:
        sessions = _sessions()
        rows: list[tuple[str | Text, ...]] = []
        for one in await environments.list():
            packages = "-" if one.broken else str(len(await environments.packages(one.name)))
            told = Text(f"BROKEN: {one.broken}", style="red") if one.broken else one.description
            disk = _mebibytes(await environments.size_bytes(one.name))
            used = _ago(environments.last_used(one))
            live = ", ".join(sessions.get(one.name, ())) or "-"
            rows.append((Text(one.name, style="bold"), one.python, packages, disk, used, live, told))
        return rows

    if rows := _at_work("Reading environments", read):
        table(("environment", "python", ">packages", ">disk", "last used", "sessions", "description"), rows)
    else:
        out.print("No environments yet. The default one is made on first use.")


@app.command()
def create(
    environment: Name,
    packages: Annotated[
        list[str] | None, typer.Argument(help='Packages to install, such as "pandas>=2".', show_default=False)
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(help="Version, range or path of an installed Python.", show_default="this one"),
    ] = None,
    requirements_file: Annotated[
        str | None,
        typer.Option(help="requirements.txt, pyproject.toml, or a notebook that export_notebook wrote."),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="A list of packages in the setting presets.")] = None,
    description: Annotated[str, typer.Option(help="What it is for.", show_default=False)] = "",
    clone_from: Annotated[
        str | None, typer.Option(help="Start with the exact packages of this environment.")
    ] = None,
    path: Annotated[
        str | None, typer.Option(help="Adopt this existing venv instead; it is never deleted from disk.")
    ] = None,
    install_kernel: Annotated[
        bool,
        typer.Option("--install-kernel", help="With --path: install ipykernel there, if it has none."),
    ] = False,
    offline: Offline = False,
) -> None:
    """Create an environment: anew, as a clone of another one, or by adopting an existing venv."""
    made = _at_work(
        f"Creating {environment}",
        lambda environments, tell: environments.create(
            environment,
            python=python,
            packages=packages or (),
            requirements_file=requirements_file,
            preset=preset,
            description=description,
            clone_from=clone_from,
            path=path,
            install_kernel=install_kernel,
            offline=offline,
            on_progress=tell,
        ),
    )
    count = len(_at_work("Reading", lambda environments, _: environments.packages(environment)))
    out.print(f"Environment {made.name!r} is ready: Python {made.python}, {count} packages.")


@app.command()
def delete(environment: Name, yes: Yes = False) -> None:
    """Delete an environment from disk; an adopted one is only forgotten."""
    existing = _at_work("Reading environments", lambda environments, _: environments.list())
    found = {one.name: one for one in existing}.get(environment)
    if found is not None:
        _refuse_in_use(environment)
    if found is not None and not yes:
        adopted = found.source == "adopted"
        question = f"Forget environment {environment!r}? Its files in {found.path} stay." if adopted else ""
        typer.confirm(question or f"Delete environment {environment!r} from disk?", abort=True, err=True)
    _at_work(
        f"Deleting {environment}",
        lambda environments, tell: environments.delete(environment, on_progress=tell),
    )
    out.print(f"Environment {environment!r} is deleted.")


@app.command()
def install(
    environment: Name,
    packages: Annotated[list[str], typer.Argument(help='PEP 508 requirements, such as "pandas>=2".')],
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Take the newest versions of these packages.")
    ] = False,
    offline: Offline = False,
) -> None:
    """Install packages. Running kernels can import what is new; what they have imported stays as it is."""

    async def put(environments: Environments, tell: Tell) -> list[Change]:
        await environments.ensure(environment, on_progress=tell)
        return await environments.install(
            environment, packages, upgrade=upgrade, offline=offline, on_progress=tell
        )

    _show_changes(environment, _at_work(f"Installing into {environment}", put))


@app.command()
def uninstall(
    environment: Name, packages: Annotated[list[str], typer.Argument(help="Names of packages.")]
) -> None:
    """Remove packages, and nothing that they needed."""
    changes = _at_work(
        f"Uninstalling from {environment}",
        lambda environments, tell: environments.uninstall(environment, packages, on_progress=tell),
    )
    _show_changes(environment, changes)


@app.command()
def packages(environment: Name) -> None:
    """List what is installed, with versions."""
    found = _at_work(f"Reading {environment}", lambda environments, _: environments.packages(environment))
    table(("package", "version"), [(one.name, one.version) for one in found])


@app.command()
def describe(environment: Name, description: Annotated[str, typer.Argument(help="What it is for.")]) -> None:
    """Set the description, which `env list` shows."""
    _at_work("Describing", lambda environments, _: environments.describe(environment, description))
    out.print(f"Environment {environment!r} is described.")


@app.command()
def export(
    environment: Name,
    format: Annotated[
        Literal["requirements", "pylock"],
        typer.Option(help="Lines for a requirements file, or a lock file with hashes (PEP 751)."),
    ] = "requirements",
    output: Annotated[Path | None, typer.Option(help="File to write.", show_default="the terminal")] = None,
) -> None:
    """Show or write the exact versions of an environment."""
    text = _at_work(
        f"Reading {environment}", lambda environments, _: environments.export(environment, format)
    )
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{output} cannot be written: {error.strerror}.", "Name another file.") from error
    out.print(f"Wrote {output}.")


@app.command()
def prune(
    unused_for: Annotated[
        timedelta,
        typer.Option(parser=_duration, metavar="DURATION", help="Unused for this long: 12h, 30d, 4w."),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
    yes: Yes = False,
) -> None:
    """Delete environments that nobody used for a while.

    The default environment, adopted ones and those with open sessions are spared.
    """
    sessions = _sessions()

    async def go(environments: Environments, *, dry_run: bool) -> list[Unused]:
        return await environments.prune(unused_for, keep=sessions, dry_run=dry_run)

    unused = _at_work(
        "Looking for unused environments", lambda environments, _: go(environments, dry_run=True)
    )
    if not unused:
        out.print("Nothing to delete.")
        return
    rows = [(one.environment.name, _ago(one.last_used), _mebibytes(one.size_bytes)) for one in unused]
    table(("environment", "last used", ">disk"), rows)
    total = _mebibytes(sum(one.size_bytes for one in unused))
    if dry_run:
        out.print(f"These would be deleted: {total}.")
        return
    if not yes:
        typer.confirm("Delete these environments?", abort=True, err=True)
    deleted = _at_work("Deleting", lambda environments, _: go(environments, dry_run=False))
    out.print(f"Deleted {len(deleted)}: {', '.join(one.environment.name for one in deleted)}.")


@app.command()
def expose(
    environment: Name,
    isolated: Annotated[
        bool,
        typer.Option(
            "--isolated",
            help="Jupyter isolates its kernels as kernel-exec does; kernel-exec must be installed beside it.",
        ),
    ] = False,
) -> None:
    """Put the kernelspec where your own JupyterLab finds it."""
    environments = Environments(load_settings())
    found = environments.get(environment)
    provisioner = run_to_end(kernel_provisioner(load_settings(), found)) if isolated else None
    directory = environments.expose(environment, provisioner)
    out.print(Text(f"Jupyter finds it now: {directory}"), soft_wrap=True)


@app.command()
def hide(environment: Name) -> None:
    """Undo `env expose`."""
    hidden = Environments(load_settings()).hide(environment)
    out.print(f"{environment!r} is hidden." if hidden else f"{environment!r} was not exposed.")


@app.command()
def repair(environment: Name, offline: Offline = False) -> None:
    """Rebuild an environment, keeping its name, description and packages."""
    repaired = _at_work(
        f"Repairing {environment}",
        lambda environments, tell: environments.repair(environment, offline=offline, on_progress=tell),
    )
    out.print(f"Environment {environment!r} is whole: Python {repaired.python}.")


@app.command()
def health(
    environment: Annotated[
        str | None,
        typer.Argument(metavar="[ENVIRONMENT]", help="Name of the environment.", show_default="all"),
    ] = None,
) -> None:
    """Look closely: Python runs, ipykernel, kernelspec, files, disk. Exit code 1 when something is wrong."""

    async def look(environments: Environments, tell: Tell) -> Sequence[tuple[str | Text, ...]]:
        names = [environment] if environment else [one.name for one in await environments.list()]
        rows: list[tuple[str | Text, ...]] = []
        for name in names:
            tell(f"Looking at {name}")
            found = await environments.health(name)
            well = Text("✗ " + "; ".join(found.problems), style="red") if found.problems else "✓"
            disk, used = _mebibytes(found.size_bytes), _ago(found.last_used)
            rows.append((name, found.environment.python, found.ipykernel or "-", disk, used, well))
        return rows

    rows = _at_work("Looking", look)
    table(("environment", "python", "ipykernel", ">disk", "last used", "health"), rows)
    if any(isinstance(row[-1], Text) for row in rows):
        err.print("`kernel-exec env repair ENVIRONMENT` rebuilds one, keeping its packages.")
        raise typer.Exit(1)


@app.command()
def pythons() -> None:
    """List the installed Pythons that environments can be created for."""
    found = _at_work("Looking for Pythons", lambda environments, _: environments.pythons())
    table(("python", "path"), [(one.version, str(one.path)) for one in found])


def _refuse_in_use(name: str) -> None:
    if sessions := _sessions().get(name):
        raise KernelExecError(
            f"Environment {name!r} is in use by sessions: {known(sessions)}.",
            "Close them with close_session, or end the program that has them, and try again.",
        )


def _sessions() -> Mapping[str, list[str]]:
    """The open sessions by environment, of whatever program."""
    return sessions_by_environment(load_settings().home)


def _show_changes(environment: str, changes: Sequence[Change]) -> None:
    if not changes:
        out.print(f"Nothing to do in environment {environment!r}: all of it is there already.")
        return
    table(
        ("package", "old", "new"), [(one.name, one.old or "(new)", one.new or "(removed)") for one in changes]
    )
    if any(one.old for one in changes):
        out.print("Running kernels keep what they have imported: restart_session loads the new versions.")


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"


def _ago(moment: datetime) -> str:
    hours = (datetime.now(UTC) - moment) / timedelta(hours=1)
    return f"{hours / 24:.0f} days ago" if hours >= 48 else f"{hours:.0f} hours ago" if hours >= 2 else "now"
