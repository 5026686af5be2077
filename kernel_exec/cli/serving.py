"""`kernel-exec` and `kernel-exec serve`: the MCP server."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from kernel_exec.cli.terminal import err
from kernel_exec.settings import load_settings

__all__ = ["serve"]


def serve(
    transport: Annotated[
        Literal["stdio", "http"], typer.Option(help="Standard input and output, or streamable HTTP.")
    ] = "stdio",
    host: Annotated[
        str | None, typer.Option(help="HTTP: address to listen on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="HTTP: port; 0 takes a free one.", show_default="8000")
    ] = None,
    workspace: Annotated[
        Path | None,
        typer.Option(
            help="Directory that sessions start in, and that path arguments must be inside of.",
            show_default="the current one",
        ),
    ] = None,
    default_environment: Annotated[
        str | None, typer.Option(help="Environment used when none is named.", show_default="default")
    ] = None,
    timeout_seconds: Annotated[
        float | None, typer.Option(help="Code is interrupted after.", show_default="600")
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option(help="debug, info, warning, error or critical.", show_default="warning"),
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="console or json.", show_default="console")] = None,
) -> None:
    """Serve MCP over standard input and output (the default), or over HTTP.

    Every option is also a setting: [bold]kernel-exec settings[/] shows them all. Over HTTP each request
    needs a bearer token: set KERNEL_EXEC_TOKEN, or one is made and printed on standard error.
    """
    settings = load_settings(
        host=host,
        port=port,
        workspace=workspace,
        default_environment=default_environment,
        timeout_seconds=timeout_seconds,
        log_level=log_level,
        log_format=log_format,
    )
    # Imported now, so that the other commands start in a third of the time.
    from kernel_exec.server.logs import configure_logging

    configure_logging(settings)
    if transport == "http":
        from kernel_exec.server.http import serve_http

        serve_http(settings)
        return
    if sys.stdin.isatty():
        err.print(
            "This serves MCP on standard input and output; an MCP client starts it. Ctrl-C ends it.\n"
            "For people: kernel-exec demo, kernel-exec --help."
        )
    from kernel_exec.server.stdio import serve_stdio

    serve_stdio(settings)
