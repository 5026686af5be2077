"""The parts of README.md that are read off the code: `python -m tests.readme` writes them anew."""

import asyncio
import re
from pathlib import Path

from kernel_exec.server.app import create_server
from kernel_exec.settings import Settings, load_settings
from tests.security.attempts import ATTEMPTS, LEVELS

README = Path(__file__).parent.parent / "README.md"
# Defaults that depend on the machine, in words.
BY_MACHINE = {"home": "the platform's data directory", "workspace": "where the server was started"}


def written(text: str) -> str:
    """README's text with its generated parts as they should be."""
    for name, part in (("tools", tools()), ("settings", settings()), ("isolation", isolation())):
        text = with_part(text, name, part)
    return text


def with_part(text: str, name: str, part: str) -> str:
    """README's text with one part exchanged."""
    marks = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    pattern = rf"{re.escape(marks[0])}.*?{re.escape(marks[1].strip())}"
    return re.sub(pattern, lambda _: part.join(marks), text, flags=re.DOTALL)


def put(name: str, part: str) -> None:
    """Exchange one part of README."""
    README.write_text(with_part(README.read_text(encoding="utf-8"), name, part), encoding="utf-8")


def tools() -> str:
    """A table of the tools: their arguments, and the first sentence of their description."""
    lines = ["| Tool | Arguments | |", "|---|---|---|"]
    for tool in asyncio.run(create_server(load_settings()).list_tools()):
        arguments = ", ".join(f"`{name}`" for name in tool.input_schema.get("properties", {}))
        sentence = re.split(r"(?<=\.)\s", " ".join((tool.description or "").split()))[0]
        lines.append(f"| `{tool.name}` | {arguments} | {sentence} |")
    return "\n".join(lines)


def settings() -> str:
    """A table of the settings."""
    lines = ["| Setting | Default | |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = BY_MACHINE.get(name) or _shown(field.default)
        lines.append(f"| `{name}` | {default} | {field.description} |")
    return "\n".join(lines)


def isolation() -> str:
    """What hostile code gets to do at each level."""
    rows = ["| Attempt by the code | " + " | ".join(LEVELS) + " |", "|---" * (len(LEVELS) + 1) + "|"]
    for attempt in ATTEMPTS:
        cells = [outcome or "as the user may" for outcome in attempt.outcomes]
        rows.append(f"| {attempt.title} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _shown(value: object) -> str:
    if value in (None, (), {}, ""):
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"`{name}`: {' '.join(listed)}" for name, listed in value.items())
    if isinstance(value, tuple):
        return ", ".join(f"`{one}`" for one in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}" if value < 10_000 else f"{value:,}"
    return f"`{value}`"


if __name__ == "__main__":
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
