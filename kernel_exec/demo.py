"""The main job on real input: an MCP client drives the real server, and prints what is said."""

import base64
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from textwrap import indent
from typing import Any

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult, ImageContent, TextContent
from PIL import Image
from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

from kernel_exec.errors import KernelExecError

__all__ = ["run_demo"]

ENVIRONMENT = "demo"
NOTEBOOK = "demo.ipynb"
SESSION = "demo"
MARGIN = "    "


@dataclass(frozen=True, slots=True)
class Step:
    """One execution: what it shows, and its code. With a *timeout_seconds* it is meant to run into it."""

    shows: str
    code: str
    timeout_seconds: float | None = None


# vega_datasets carries NOAA's hourly temperature normals (public domain) for two cities: 17,518 rows.
PACKAGES = ("pandas", "matplotlib", "vega_datasets")
WEATHER = (
    Step(
        "Load real data: a year of hourly temperatures of two cities, from NOAA",
        """\
import pandas as pd
from vega_datasets import data

hours = pd.concat(
    {"Seattle": data.seattle_temps(), "San Francisco": data.sf_temps()}, names=["city"]
).reset_index("city")
print(f"{len(hours):,} rows")
hours.head()""",
    ),
    Step(
        "The next call goes on with the DataFrame",
        'hours.groupby("city")["temp"].describe().round(1)',
    ),
    Step(
        "A plot comes back as an image",
        """\
import matplotlib.pyplot as plt

by_hour = hours.groupby(["city", hours["date"].dt.hour])["temp"].mean().unstack("city")
by_hour.plot(xlabel="hour of the day", ylabel="mean temperature (°F)", figsize=(7, 4))
plt.show()""",
    ),
    Step(
        "Code that takes too long is interrupted",
        """\
largest = 0.0
for attempt in range(1_000_000_000):
    largest = max(largest, hours["temp"].sample(1000).mean())""",
        timeout_seconds=3,
    ),
    Step(
        "And the DataFrame is still there",
        'print(f"{attempt:,} samples were drawn; the DataFrame has its {len(hours):,} rows")\n'
        'hours.nlargest(1, "temp")',
    ),
)

# The Unicode character database, which Python itself ships: 65,536 rows, one for each code point.
UNICODE = (
    Step(
        "Load real data that Python ships: the Unicode character database",
        """\
import unicodedata

characters = [
    (code, unicodedata.category(chr(code)), unicodedata.name(chr(code), "")) for code in range(0x10000)
]
print(f"{len(characters):,} rows, Unicode {unicodedata.unidata_version}")
characters[0x1F0:0x1F3]""",
    ),
    Step(
        "The next call goes on with it",
        """\
from collections import Counter

counts = Counter(category for _, category, _ in characters)
counts.most_common(6)""",
    ),
    Step(
        "A picture comes back as an image: one pixel for each code point, coloured by its category",
        """\
import struct, zlib
from colorsys import hsv_to_rgb
from IPython.display import Image

colours = {
    category: bytes(int(255 * part) for part in hsv_to_rgb(number / len(counts), 0.7, 0.9))
    for number, category in enumerate(sorted(counts))
}
rows = b"".join(
    b"\\0" + b"".join(colours[category] for _, category, _ in characters[start : start + 256])
    for start in range(0, len(characters), 256)
)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


header = struct.pack(">IIBBBBB", 256, 256, 8, 2, 0, 0, 0)
parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
Image(b"\\x89PNG\\r\\n\\x1a\\n" + b"".join(parts))""",
    ),
    Step(
        "Code that takes too long is interrupted",
        """\
for attempt in range(1_000_000_000):
    longest = max(characters, key=lambda row: len(row[2]))""",
        timeout_seconds=2,
    ),
    Step(
        "And the data are still there",
        'print(f"{attempt:,} searches were done; {len(characters):,} rows are still there")\nlongest',
    ),
)


class Transcript:
    """Calls tools and prints each call with its reply."""

    def __init__(self, client: Client, console: Console) -> None:
        self._client = client
        self._console = console

    def title(self, text: str) -> None:
        """Say what comes next."""
        self._print(Text(f"\n{text}", style="bold"))

    async def call(self, tool: str, *, may_fail: bool = False, **arguments: Any) -> CallToolResult:
        """Call a tool and show what it answers.

        Raises: KernelExecError, when the reply is an error and not *may_fail*.
        """
        shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items() if name != "code")
        self._print(Text.assemble(("→ ", "cyan"), (tool, "bold cyan"), f"({shown})"))
        if "code" in arguments:
            python = Syntax("", "python", theme="ansi_dark", background_color="default")
            self._print(python.highlight(indent(arguments["code"], MARGIN)))
        with self._console.status("") as status:

            async def show(progress: float, total: float | None = None, message: str | None = None) -> None:
                status.update(Text(message or ""))

            result = await self._client.call_tool(tool, arguments, progress_callback=show)
        style = "red" if result.is_error else "green"
        for content in result.content:
            self._print(Text(indent(_described(content), MARGIN), style=style))
        if result.is_error and not may_fail:
            raise KernelExecError(
                f"The demo ended: {tool} failed.", "The reply above says why; `kernel-exec doctor` may too."
            )
        return result

    def _print(self, text: Text) -> None:
        text.rstrip()
        self._console.print(text, soft_wrap=True)


async def run_demo(directory: Path, console: Console, *, offline: bool = False) -> Path:
    """Start the server for the workspace *directory*, drive it, and return the notebook that it left.

    The environment `demo` is made, or used again; *offline* takes the default one and only what Python
    ships. The server and its kernels are gone when this returns, however it does.

    Raises: KernelExecError.
    """
    notebook = directory / NOTEBOOK
    if notebook.exists() and '"kernel_exec"' not in notebook.read_text(errors="replace"):
        raise KernelExecError(f"There is a {notebook} already.", "Move it, or pass another --directory.")
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "kernel_exec", "serve", "--workspace", str(directory)],
        env=dict(os.environ),
        cwd=directory,
    )
    failure: KernelExecError | None = None
    async with Client(server) as client:
        # Not raised in here: the client's task groups would wrap it.
        try:
            await _drive(Transcript(client, console), offline=offline)
        except KernelExecError as error:
            failure = error
        except MCPError as error:
            failure = KernelExecError(f"The demo ended: {error}.", "`kernel-exec doctor` may say why.")
    if failure is not None:
        raise failure
    return notebook


async def _drive(transcript: Transcript, *, offline: bool) -> None:
    if offline:
        await _execute(transcript, UNICODE, {})
    else:
        await _prepare(transcript)
        await _execute(transcript, WEATHER, {"environment": ENVIRONMENT})
    transcript.title("The session leaves as a notebook")
    await transcript.call("export_notebook", path=NOTEBOOK, session=SESSION, overwrite=True)
    await transcript.call("close_session", session=SESSION)


async def _prepare(transcript: Transcript) -> None:
    transcript.title("An environment with packages of its own")
    listed = await transcript.call("list_environments")
    there = (listed.structured_content or {}).get("environments", [])
    if any(one["name"] == ENVIRONMENT for one in there):
        await transcript.call("install_packages", environment=ENVIRONMENT, packages=list(PACKAGES))
    else:
        await transcript.call(
            "create_environment",
            environment=ENVIRONMENT,
            packages=list(PACKAGES),
            description="Made by kernel-exec demo",
        )


async def _execute(transcript: Transcript, steps: Sequence[Step], environment: dict[str, str]) -> None:
    for step in steps:
        transcript.title(step.shows)
        limit = {} if step.timeout_seconds is None else {"timeout_seconds": step.timeout_seconds}
        arguments = {"code": step.code, "session": SESSION, **environment, **limit}
        await transcript.call("execute_code", may_fail=bool(limit), **arguments)
        environment = {}  # the session has it now


def _described(content: object) -> str:
    match content:
        case TextContent():
            return content.text
        case ImageContent():
            data = base64.b64decode(content.data)
            width, height = Image.open(BytesIO(data)).size
            return f"[{content.mime_type}, {width} x {height} pixels, {len(data) / 1024:.0f} KiB]"
        case _:
            return f"[{getattr(content, 'uri', type(content).__name__)}]"
