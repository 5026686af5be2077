"""Tools that act on environments and their packages."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal

from mcp.types import CallToolResult, ToolAnnotations
from packaging.utils import canonicalize_name
from pydantic import BaseModel, Field

from kernel_exec.environments import Change, Package
from kernel_exec.errors import EnvironmentInUse, InvalidInput, known
from kernel_exec.runtime import Runtime, sessions_by_environment
from kernel_exec.server.arguments import EnvironmentName, Requirements
from kernel_exec.server.boundary import KernelExecServer
from kernel_exec.server.calls import ToolContext, progress, runtime, structured, text
from kernel_exec.server.tables import NONE, mebibytes, table
from kernel_exec.sessions.imports import imported

__all__ = ["EnvironmentList", "PackageList", "add_environment_tools"]

CHANGES = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True
)
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)


class EnvironmentState(BaseModel):
    """One environment; *broken* says why no code can run in it."""

    name: str
    python: str
    packages: int
    size_bytes: int
    description: str
    created: datetime
    last_used: datetime
    sessions: list[str]
    path: str
    broken: str


class EnvironmentList(BaseModel):
    """All environments."""

    environments: list[EnvironmentState]


class PackageList(BaseModel):
    """What is installed in one environment."""

    environment: str
    packages: list[Package]


def add_environment_tools(server: KernelExecServer) -> None:
    """Register the tools of this module."""

    @server.tool(structured_output=False, annotations=CHANGES)
    async def create_environment(
        environment: Annotated[str, Field(description="Name of the new environment")],
        ctx: ToolContext,
        python: Annotated[
            str | None,
            Field(description='Version or interpreter, such as "3.12" (default: the server\'s)'),
        ] = None,
        packages: Annotated[
            list[str], Field(description='PEP 508 requirements to install, such as "pandas>=2"')
        ] = [],  # noqa: B006 - never changed; a None would show in the schema
        description: Annotated[str, Field(description="What it is for", max_length=2_000)] = "",
        clone_from: Annotated[
            str | None, Field(description="Start with the exact packages of this environment")
        ] = None,
        requirements_file: Annotated[
            str | None,
            Field(description="Install what this requirements file, pyproject.toml or notebook asks for"),
        ] = None,
        preset: Annotated[
            str | None, Field(description="Install this list of packages of the settings")
        ] = None,
        path: Annotated[
            str | None,
            Field(description="Register this existing venv instead; it is never deleted from disk"),
        ] = None,
        install_kernel: Annotated[
            bool, Field(description="With path: put ipykernel there, instead of leaving it unwritten")
        ] = False,
    ) -> CallToolResult:
        """Create a named virtual environment with ipykernel. The default one makes itself on first use;
        create others to keep projects with conflicting packages apart.
        """
        async with progress(ctx) as tell:
            made = await runtime(ctx).environments.create(
                environment,
                python=python,
                packages=packages,
                requirements_file=requirements_file,
                preset=preset,
                description=description,
                clone_from=clone_from,
                path=path,
                install_kernel=install_kernel,
                on_progress=tell,
            )
        installed = await runtime(ctx).environments.packages(made.name)
        return text(
            f"Environment {made.name!r} is ready: Python {made.python}, {len(installed)} packages. "
            f"Use it with execute_code(code=…, session=…, environment={made.name!r})."
        )

    @server.tool(annotations=READS)
    async def list_environments(ctx: ToolContext) -> Annotated[CallToolResult, EnvironmentList]:
        """Environments with Python version, package count, disk size, live sessions and description."""
        states = await environment_states(runtime(ctx))
        rows = [
            (
                one.name,
                one.python,
                str(one.packages),
                mebibytes(one.size_bytes),
                ", ".join(one.sessions) or NONE,
                f"BROKEN: {one.broken}" if one.broken else one.description,
            )
            for one in states
        ]
        shown = table(("environment", "python", "packages", "disk", "sessions", "description"), rows)
        return structured(
            shown if rows else "No environments yet. The default one is made on first use.",
            EnvironmentList(environments=states),
        )

    @server.tool(structured_output=False, annotations=CHANGES)
    async def describe_environment(
        description: Annotated[str, Field(description="What it is for", max_length=2_000)],
        ctx: ToolContext,
        environment: EnvironmentName = None,
    ) -> CallToolResult:
        """Set an environment's description, which list_environments shows."""
        described = await runtime(ctx).environments.describe(_named(ctx, environment), description)
        return text(f"Environment {described.name!r}: {described.description or '(no description)'}")

    @server.tool(structured_output=False, annotations=CHANGES)
    async def delete_environment(
        environment: Annotated[str, Field(description="Name of the environment to delete")],
        ctx: ToolContext,
        confirm: Annotated[
            bool,
            Field(description="Also delete the default environment, or one in use: its sessions are closed"),
        ] = False,
    ) -> CallToolResult:
        """Delete an environment from disk (one that was registered by path is only forgotten)."""
        owner = runtime(ctx)
        if environment == owner.settings.default_environment and not confirm:
            raise InvalidInput(
                f"{environment!r} is the default environment.",
                "Pass confirm=true to delete it; it is made anew on use.",
            )
        in_use = sessions_by_environment(owner.settings.home).get(environment, [])
        own = sessions_in(owner, environment)
        if len(in_use) > len(own):
            raise InvalidInput(
                f"Environment {environment!r} is in use by sessions of another server: {known(in_use)}.",
                "Close them there first.",
            )
        if own and not confirm:
            raise EnvironmentInUse(environment, own)
        for session in owner.sessions.list(None):
            if session.environment == environment:
                await owner.sessions.close(session.name, session.principal)
        async with progress(ctx) as tell:
            await owner.environments.delete(environment, on_progress=tell)
        closed = f" Closed sessions: {', '.join(own)}." if own else ""
        return text(f"Environment {environment!r} is deleted.{closed}")

    @server.tool(structured_output=False, annotations=CHANGES)
    async def repair_environment(
        environment: Annotated[str, Field(description="Name of the environment to rebuild")], ctx: ToolContext
    ) -> CallToolResult:
        """Rebuild a broken environment, keeping its name, description and packages."""
        async with progress(ctx) as tell:
            made = await runtime(ctx).environments.repair(environment, on_progress=tell)
        in_use = sessions_in(runtime(ctx), environment)
        again = f" Call restart_session for: {', '.join(in_use)}." if in_use else ""
        return text(f"Environment {made.name!r} is whole again, with Python {made.python}.{again}")

    @server.tool(structured_output=False, annotations=CHANGES)
    async def install_packages(
        packages: Requirements,
        ctx: ToolContext,
        environment: EnvironmentName = None,
        upgrade: Annotated[bool, Field(description="Take the newest versions of these packages")] = False,
    ) -> CallToolResult:
        """Install packages into an environment. Says what changed, and which sessions hold old versions.

        New packages can be imported in running sessions at once.
        """
        owner, name = runtime(ctx), _named(ctx, environment)
        async with progress(ctx) as tell:
            if environment is None:
                await owner.environments.ensure(name, on_progress=tell)
            before = await owner.environments.import_names(name)
            changes = await owner.environments.install(name, packages, upgrade=upgrade, on_progress=tell)
        return text(await _told(owner, name, changes, before))

    @server.tool(structured_output=False, annotations=CHANGES)
    async def uninstall_packages(
        packages: Annotated[list[str], Field(description="Package names", min_length=1)],
        ctx: ToolContext,
        environment: EnvironmentName = None,
    ) -> CallToolResult:
        """Remove packages from an environment, and nothing that they needed."""
        owner, name = runtime(ctx), _named(ctx, environment)
        async with progress(ctx) as tell:
            before = await owner.environments.import_names(name)
            changes = await owner.environments.uninstall(name, packages, on_progress=tell)
        return text(await _told(owner, name, changes, before))

    @server.tool(annotations=READS)
    async def list_packages(
        ctx: ToolContext,
        environment: EnvironmentName = None,
        format: Annotated[
            Literal["table", "requirements", "pylock"],
            Field(description="A table, lines for a requirements file, or a pylock.toml with hashes"),
        ] = "table",
    ) -> Annotated[CallToolResult, PackageList]:
        """Packages that are installed in an environment, with their versions."""
        owner, name = runtime(ctx), _named(ctx, environment)
        if environment is None:
            async with progress(ctx) as tell:
                await owner.environments.ensure(name, on_progress=tell)
        packages = await owner.environments.packages(name)
        if format == "table":
            shown = table(("package", "version"), [(one.name, one.version) for one in packages])
        else:
            shown = await owner.environments.export(name, format)
        return structured(shown, PackageList(environment=name, packages=packages))


async def environment_states(owner: Runtime) -> list[EnvironmentState]:
    """All environments with what is on disk and which sessions run in them."""
    states = []
    for one in await owner.environments.list():
        packages = [] if one.broken else await owner.environments.packages(one.name)
        states.append(
            EnvironmentState(
                name=one.name,
                python=one.python,
                packages=len(packages),
                size_bytes=await owner.environments.size_bytes(one.name),
                description=one.description,
                created=one.created,
                last_used=owner.environments.last_used(one),
                sessions=sessions_in(owner, one.name),
                path=str(one.path),
                broken=one.broken,
            )
        )
    return states


def sessions_in(owner: Runtime, environment: str) -> list[str]:
    """The names of the live sessions, whosever they are, in an environment."""
    return sorted(session.name for session in owner.sessions.list(None) if session.environment == environment)


def _named(ctx: ToolContext, environment: str | None) -> str:
    return environment or runtime(ctx).settings.default_environment


async def _told(
    owner: Runtime, environment: str, changes: Sequence[Change], before: Mapping[str, frozenset[str]]
) -> str:
    """What an installation changed, and who still has what was there *before* imported."""
    if not changes:
        return f"Nothing to do in environment {environment!r}: all of it is there already."
    lines = [f"Changed in environment {environment!r}:"]
    lines += [f"{change.name} {change.old or '(new)'} → {change.new or '(removed)'}" for change in changes]
    replaced = [canonicalize_name(change.name) for change in changes if change.old is not None]
    live = [session for session in owner.sessions.list(None) if session.environment == environment]
    holding = await imported(live, {name: before.get(name, frozenset()) for name in replaced})
    for session, packages in holding.items():
        if packages is not None:
            lines.append(
                f"Session {session!r} has the old {', '.join(packages)} imported: "
                f"restart_session({session!r}) to use what is installed now."
            )
        elif replaced:
            lines.append(f"Session {session!r} is busy and could not be asked what it has imported.")
    return "\n".join(lines)
