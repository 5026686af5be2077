"""`kernel-exec doctor` and `kernel-exec settings`: is all well, and what is set."""

import typer
from pydantic import SecretStr
from rich.text import Text

from kernel_exec.cli.terminal import out, run_to_end, table, working
from kernel_exec.doctor import Check, examine
from kernel_exec.settings import Settings, load_settings, setting_origins

__all__ = ["doctor", "show_settings"]


def doctor() -> None:
    """Check that kernel-exec can work here, with a real kernel; say what to do about each failure.

    The exit code is 1 when a check fails.
    """
    checks = run_to_end(_examined(load_settings()))
    rows = []
    for check in checks:
        mark = Text("✓", style="green") if check.passed else Text("✗", style="red")
        rows.append((mark, check.name, check.found))
    table(("", "check", "found"), rows)
    failed = [check for check in checks if not check.passed]
    for check in failed:
        out.print(Text(f"\n✗ {check.name}: {check.advice}"), soft_wrap=True)
    if failed:
        raise typer.Exit(1)
    out.print("\nAll is well.")


async def _examined(settings: Settings) -> list[Check]:
    with working("Checking") as tell:
        return [check async for check in examine(settings, on_progress=tell)]


def show_settings() -> None:
    """Show every setting: its value, what it means, and where the value came from.

    A setting comes from an environment variable KERNEL_EXEC_<NAME>, else from the file config.toml in
    the data directory, else it is the default.
    """
    settings = load_settings()
    origins = setting_origins(settings)
    rows = []
    for name, field in Settings.model_fields.items():
        style = "" if origins[name] == "default" else "bold"
        rows.append(
            (
                Text(name, style=style),
                Text(_shown(getattr(settings, name)), style=style),
                origins[name],
                field.description or "",
            )
        )
    table(("setting", "value", "from", "what it is"), rows)
    state = "" if settings.config_file.is_file() else " (not there)"
    out.print(Text(f"\nFile: {settings.config_file}{state}"), soft_wrap=True)


def _shown(value: object) -> str:
    match value:
        case _ if value in (None, (), {}):
            return "-"
        case SecretStr():
            return "(hidden)"
        case tuple():
            return ", ".join(map(str, value))
        case dict():
            return "; ".join(f"{key} = {_shown(each)}" for key, each in value.items())
        case float():
            return f"{value:g}"
        case _:
            return str(value)
