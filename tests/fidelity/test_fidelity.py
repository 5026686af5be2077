"""What a session shows for a notebook is what nbclient shows for it in the same environment."""

import asyncio
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from kernel_exec.runtime import Runtime
from kernel_exec.sessions.files import execute_file
from kernel_exec.sessions.notebook import export, session_notebook
from kernel_exec.settings import Settings
from tests.conftest import OpenSession
from tests.fidelity.comparison import comparable
from tests.fidelity.conftest import Run
from tests.fidelity.notebooks import NOTEBOOKS

QUICK = {"streams and results", "output widgets"}


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NOTEBOOKS]
)
async def test_a_notebook_has_the_outputs_that_nbclient_gives(
    name: str,
    runtime: Runtime,
    settings: Settings,
    open_session: OpenSession,
    rich_environment: str,
    run_with_nbclient: Run,
) -> None:
    cells = [(cell, None) if isinstance(cell, str) else cell for cell in NOTEBOOKS[name]]
    notebook = new_notebook(
        cells=[new_code_cell(source, metadata={"tags": [tag]} if tag else {}) for source, tag in cells]
    )
    path = settings.workspace / f"{name}.ipynb"
    nbformat.write(notebook, path)
    session = await open_session(environment=rich_environment)
    expected, run = await asyncio.gather(run_with_nbclient(notebook), execute_file(session, path))
    assert run.complete

    exported = await session_notebook(runtime.history, session.record)
    nbformat.validate(exported)
    ran = [cell for cell in expected.cells if cell.execution_count]
    assert [cell.source for cell in exported.cells] == [cell.source for cell in ran]
    outputs, caught = comparable(exported.cells, exported.metadata)
    expected_outputs, expected_caught = comparable(ran, expected.metadata)
    for cell, shown, wanted in zip(ran, outputs, expected_outputs, strict=True):
        assert shown == wanted, cell.source
    assert caught == expected_caught
    assert bool(caught) == (name == "output widgets")


@pytest.mark.slow
async def test_a_session_that_leaves_as_a_notebook_runs_again_to_the_same_outputs(
    runtime: Runtime,
    settings: Settings,
    open_session: OpenSession,
    rich_environment: str,
    run_with_nbclient: Run,
) -> None:
    session = await open_session(environment=rich_environment)
    for code in (
        "data = [3, 1, 2]",
        "1 / 0",
        "print(sorted(data)); data",
        "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot(data);",
        "import ipywidgets\nout = ipywidgets.Output()\nwith out: print('caught')\nout",
        "if True:",
        "'bye'",
    ):
        await session.execute(code)
    await session.execute("while True: pass", timeout_seconds=0.3)
    await session.execute("data.append(4); data")
    exported = await session_notebook(runtime.history, session.record)
    assert [cell.metadata.get("tags") for cell in exported.cells] == [
        *(None, ["raises-exception"], None, None, None, ["raises-exception"], None, ["skip-execution"], None)
    ]
    path = await export(exported, "again.ipynb", settings.workspace)

    rerun = await run_with_nbclient(nbformat.read(Path(path), as_version=4))
    for cell in exported.cells[-1:]:  # the count of the cell that was skipped is missing before it
        cell.execution_count -= 1
        cell.outputs[0]["execution_count"] -= 1
    assert comparable(rerun.cells, rerun.metadata) == comparable(exported.cells, exported.metadata)


async def test_output_that_comes_while_nothing_runs_joins_the_last_execution(
    runtime: Runtime, open_session: OpenSession
) -> None:
    session = await open_session()
    last = await session.execute(
        "import threading; threading.Timer(0.2, print, ['late']).start(); print('done')"
    )
    async with asyncio.timeout(5):
        while "late\n" not in runtime.sessions.execution(last.id).text:
            await asyncio.sleep(0.01)
    assert runtime.sessions.execution(last.id).text == "done\nlate\n"


async def test_comms_that_no_widget_uses_never_break_an_execution(open_session: OpenSession) -> None:
    session = await open_session()
    execution = await session.execute(
        "from comm import create_comm\ncomm = create_comm(target_name='nobody', data=['not', 'a', 'dict'])\n"
        "comm.send({'state': 'none'}, buffers=[b'x'])\ncomm.send(None)\ncomm.close()\n"
        "create_comm(target_name='jupyter.widget', data={'state': {'_model_name': 'OutputModel'}})\n'sent'"
    )
    assert (execution.status, execution.text) == ("ok", "'sent'")
