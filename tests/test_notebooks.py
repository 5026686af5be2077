"""The tutorials run from top to bottom and show what they were committed with.

`python -m tests.test_notebooks` runs them all and writes their outputs anew.
"""

import asyncio
import os
import re
import tempfile
from copy import deepcopy
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

from kernel_exec.runtime import Runtime

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
CELL_SECONDS = 120
ABSOLUTE_PATH = re.compile(r"(?<![\w:/.)])/[\w.-]+/|\b[A-Z]:\\")
# Sizes and counts; the versions of Python and of ipykernel.
DIFFERS = re.compile(r"\d[\d.,]*(?= (?:B|KB|MiB|packages)\b)|\b[367]\.\d+\.\d+\b")
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


async def executed(path: Path, directory: Path, **variables: str) -> NotebookNode:
    """The notebook with the outputs of a new run by this interpreter, started in *directory*."""
    notebook = read(path)
    metadata = deepcopy(notebook.metadata)
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    kernel = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    client = NotebookClient(
        notebook,
        km=kernel,
        timeout=CELL_SECONDS,
        coalesce_streams=True,
        record_timing=False,
        resources={"metadata": {"path": str(directory)}},
    )
    # ipykernel's stderr has no file number, which subprocesses need, where it sees that pytest runs it.
    left_out = ("KERNEL_EXEC_", "PYTEST_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    await client.async_execute(cleanup_kc=True, env=inherited | variables)
    notebook.metadata = metadata  # without the version of this Python
    return notebook


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(cell: NotebookNode) -> list[str]:
    """What a cell printed, without colours."""
    return [ANSI.sub("", output.text) for output in cell.outputs if output.output_type == "stream"]


def stable(cell: NotebookNode) -> list[str]:
    """What a cell put out, less what differs from machine to machine, and with it the width of columns."""
    kinds = [mime for output in cell.outputs for mime in output.get("data", {})]
    return kinds + [" ".join(DIFFERS.sub("#", text).split()) for text in texts(cell)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_whole_with_outputs_that_name_no_place(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell.outputs) for cell in cells) > len(cells) / 2
    for cell in cells:
        assert {output.output_type for output in cell.outputs} <= {"stream", "display_data"}
        assert all(output.get("name", "stdout") == "stdout" for output in cell.outputs)
        assert not [text for text in texts(cell) if ABSOLUTE_PATH.search(text)]


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
async def test_a_notebook_runs_and_shows_what_it_was_committed_with(
    path: Path, runtime: Runtime, tmp_path: Path
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "layers").symlink_to(runtime.settings.home / "layers")
    (directory := tmp_path / "directory").mkdir()
    again = await executed(path, directory, KERNEL_EXEC_HOME=str(tmp_path / "home"))
    for before, now in zip(code_cells(read(path)), code_cells(again), strict=True):
        assert stable(now) == stable(before), f"cell {now.id}: python -m tests.test_notebooks, if it is meant"
    assert not list(directory.iterdir())


async def refresh() -> None:
    """Run each notebook and write it with its outputs."""
    for path in NOTEBOOKS:
        with tempfile.TemporaryDirectory() as directory:
            nbformat.write(await executed(path, Path(directory)), path)
        print(path.name)


if __name__ == "__main__":
    asyncio.run(refresh())
