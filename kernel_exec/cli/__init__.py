"""The command line: `kernel-exec`.

serving       the MCP server (the command without a name), `serve`
running       `run` a script or notebook, `demo`
environments  `env ...`
checks        `doctor`, `top`, `settings`
"""

from typing import Annotated

import typer

from kernel_exec import __version__
from kernel_exec.cli import checks, environments, running, serving, top
from kernel_exec.cli.terminal import Commands, out

__all__ = ["app", "main"]

app = typer.Typer(
    cls=Commands,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(serving.serve)
app.command()(running.demo)
app.command()(running.run)
app.add_typer(environments.app)
app.command()(checks.doctor)
app.command()(top.top)
app.command("settings")(checks.show_settings)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"kernel-exec {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Persistent Python for AI agents: an MCP server that runs code in real Jupyter kernels.

    Without a command it serves MCP over standard input and output: that is how a client starts it.
    Try [bold]kernel-exec demo[/] to see what it does, and [bold]kernel-exec doctor[/] if something is amiss.
    """
    if context.invoked_subcommand is None:
        serving.serve()


def main() -> None:
    """The program `kernel-exec`."""
    app(prog_name="kernel-exec")
