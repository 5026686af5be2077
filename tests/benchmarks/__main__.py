"""`python -m tests.benchmarks [subject …]`: prints a table; ends with 1 when a limit does not hold.

Warm caches, medians, each value in turns with its floor. `--readme` writes the table into README.md.
"""

import asyncio
import os
import platform
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kernel_exec.runtime import open_runtime
from kernel_exec.settings import load_settings
from tests.benchmarks import calls, environments, isolation, opening, output, stdio
from tests.benchmarks.row import Row
from tests.readme import put

SUBJECTS = {
    "calls": calls,
    "stdio": stdio,
    "opening": opening,
    "output": output,
    "environments": environments,
    "isolation": isolation,
}


HEAD = ["what (floor)", "value", "floor", "ratio", "limit"]


async def measure(subjects: list[str]) -> list[Row]:
    """The rows of the subjects, measured on a data directory of their own."""
    with tempfile.TemporaryDirectory(prefix="kx") as directory:
        (workspace := Path(directory, "workspace")).mkdir()
        settings = load_settings(home=Path(directory, "home"), workspace=workspace, isolation="none")
        async with open_runtime(settings) as runtime:
            await runtime.environments.ensure(settings.default_environment)
            await runtime.environments.compile(settings.default_environment)
            return [row for subject in subjects for row in await SUBJECTS[subject].rows(runtime)]


def main() -> int:
    names = [name for name in sys.argv[1:] if name in SUBJECTS] or list(SUBJECTS)
    rows = asyncio.run(measure(names))
    table = Table(*HEAD)
    for row in rows:
        table.add_row(*cells(row))
    Console(width=120).print(table)
    if "--readme" in sys.argv:
        lines = [f"| {' | '.join(line)} |" for line in (HEAD, ["---"] * len(HEAD), *map(cells, rows))]
        machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
        put("benchmarks", "\n".join([f"`python -m tests.benchmarks` on {machine}:", "", *lines]))
    return int(any(row.limit is not None and row.ratio > row.limit for row in rows))


def cells(row: Row) -> list[str]:
    held = row.limit is None or row.ratio <= row.limit
    limit = "" if row.limit is None else f"{row.limit:g} {'holds' if held else 'EXCEEDED'}"
    return [
        row.name,
        *(f"{amount:,.1f} {row.unit}" for amount in (row.value, row.floor)),
        f"{row.ratio:.2f}",
        limit,
    ]


if __name__ == "__main__":
    sys.exit(main())
