import asyncio
import json
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from kernel_exec.errors import InvalidInput, QueueFull
from kernel_exec.sessions.files import Step, execute_file
from kernel_exec.sessions.session import Session
from tests.conftest import OpenSession


def notebook_file(path: Path, *cells: str | tuple[str, str], language: str = "python") -> Path:
    tagged = [(cell, None) if isinstance(cell, str) else cell for cell in cells]
    notebook = new_notebook(
        cells=[new_code_cell(source, metadata={"tags": [tag]} if tag else {}) for source, tag in tagged],
        metadata={"language_info": {"name": language}},
    )
    notebook.cells.insert(1, new_markdown_cell("# Text"))
    nbformat.write(notebook, path)
    return path


async def test_a_script_sees_its_arguments_and_its_name_and_leaves_none_behind(
    session: Session, tmp_path: Path
) -> None:
    path = tmp_path / 'it\'s "a" script.py'
    path.write_text("import sys\nprint(sys.argv, __file__, __name__)\nkept = 1\n1 / 0")
    before = (await session.execute("import sys; sys.argv")).text
    run = await execute_file(session, path, arguments=["--x", "é'\n"])
    (execution,) = run.executions
    assert not run.complete
    assert execution.text == f"{[str(path), '--x', chr(233) + chr(39) + chr(10)]} {path} __main__\n"
    assert execution.error is not None and execution.error.name == "ZeroDivisionError"
    after = await session.execute("print('__file__' in globals(), kept); sys.argv")
    assert after.text == f"False 1\n{before}"


async def test_a_script_gives_back_the_file_name_that_the_session_had(
    session: Session, tmp_path: Path
) -> None:
    path = tmp_path / "a.py"
    path.write_text("__file__")
    await session.execute("__file__ = 'mine'")
    run = await execute_file(session, path)
    assert run.complete and run.executions[0].text == repr(str(path))
    assert (
        await session.execute("__import__('sys').modules['__main__'].__dict__.pop('__file__')")
    ).text == "'mine'"


async def test_scripts_that_wait_in_the_queue_each_get_their_own_arguments(
    open_session: OpenSession, tmp_path: Path
) -> None:
    session = await open_session()
    path = tmp_path / "a.py"
    path.write_text("import sys; print(sys.argv[1:])")
    session.submit("import time; time.sleep(0.5)")
    cancelled = asyncio.create_task(execute_file(session, path, arguments=["cancelled"]))
    runs = [asyncio.create_task(execute_file(session, path, arguments=[name])) for name in "ab"]
    between = asyncio.create_task(session.execute("import sys; len(sys.argv) > 1"))
    while session.queued < 4:
        await asyncio.sleep(0.01)
    cancelled.cancel()
    assert [(await run).executions[0].text for run in runs] == ["['a']\n", "['b']\n"]
    own = (await session.execute("len(sys.argv) > 1")).text
    assert (await between).text == own
    assert (await session.execute(path.read_text())).text == (
        await session.execute("print(sys.argv[1:])")
    ).text


async def test_a_script_is_decoded_as_it_declares(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "latin.py"
    path.write_bytes("# -*- coding: latin-1 -*-\nprint('é')".encode("latin-1"))
    assert (await execute_file(session, path)).executions[0].text == "é\n"
    path.write_bytes(b"\xef\xbb\xbfprint('bom')\r\nprint(2)\r\n")
    assert (await execute_file(session, path)).executions[0].text == "bom\n2\n"
    for bad in (b"print('\xff')", b"# coding: nonsense\n1"):
        path.write_bytes(bad)
        with pytest.raises(InvalidInput, match="decoded"):
            await execute_file(session, path)


async def test_a_notebook_runs_cell_by_cell_and_stops_at_the_first_error(
    session: Session, tmp_path: Path
) -> None:
    path = notebook_file(
        tmp_path / "a.ipynb",
        "n = 1",
        ("n = 100", "skip-execution"),
        "",
        ("n += 1; 1 / 0", "raises-exception"),
        "print(n)",
        "undefined_name",
        "n = 3",
    )
    steps: list[Step] = []
    run = await execute_file(session, path, on_step=steps.append)
    assert [execution.status for execution in run.executions] == ["ok", "error", "ok", "error"]
    assert (run.executions[2].text, run.total, run.complete) == ("2\n", 5, False)
    assert [(step.number, step.total) for step in steps] == [(1, 5), (2, 5), (3, 5), (4, 5)]
    assert (await session.execute("n")).text == "2"


async def test_inputs_are_shared_by_the_cells_of_a_notebook(session: Session, tmp_path: Path) -> None:
    path = notebook_file(tmp_path / "a.ipynb", "print(input())", "print(1)", "print(input(), input())")
    run = await execute_file(session, path, inputs=["one", "two", "three"])
    assert "".join(execution.text for execution in run.executions) == "one\n1\ntwo three\n"


async def test_a_timeout_ends_the_notebook_also_where_an_error_is_expected(
    session: Session, tmp_path: Path
) -> None:
    path = notebook_file(tmp_path / "a.ipynb", ("while True: pass", "raises-exception"), "1")
    run = await execute_file(session, path, timeout_seconds=0.3)
    assert [execution.status for execution in run.executions] == ["timeout"]
    assert not run.complete


async def test_cancelling_interrupts_the_cell_that_runs_and_no_other_begins(
    session: Session, tmp_path: Path
) -> None:
    path = notebook_file(tmp_path / "a.ipynb", "began = []", "while True: began.append(1)", "began = 'third'")
    steps: list[Step] = []
    running = asyncio.create_task(execute_file(session, path, on_step=steps.append))
    while len(steps) < 2 or not session.executing:
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await steps[1].ongoing.finished.wait()
    assert session.snapshot(steps[1].ongoing).status == "interrupted"
    assert (await session.execute("type(began).__name__, session if 0 else 0")).text == "('list', 0)"
    assert len(steps) == 2


async def test_a_notebook_of_an_older_format_is_upgraded(session: Session, tmp_path: Path) -> None:
    old = {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {"name": ""},
        "worksheets": [
            {
                "metadata": {},
                "cells": [
                    {"cell_type": "heading", "level": 1, "source": ["Title"], "metadata": {}},
                    {
                        "cell_type": "code",
                        "input": ["print(1)\n", "2"],
                        "language": "python",
                        "outputs": [],
                        "collapsed": False,
                        "metadata": {},
                        "prompt_number": 1,
                    },
                ],
            }
        ],
    }
    path = tmp_path / "old.ipynb"
    path.write_text(json.dumps(old))
    assert (await execute_file(session, path)).executions[0].text == "1\n2"
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 1, "metadata": {}, "cells": []}))
    assert await execute_file(session, path) == type(await execute_file(session, path))((), 0, complete=True)


@pytest.mark.parametrize(
    "content",
    ["", "no json", "[]", "3", "{}", '{"nbformat": 4}', '{"nbformat": 99, "cells": []}', "\ufeff{}"],
)
async def test_a_file_that_is_no_notebook_is_said_to_be_none(
    session: Session, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(content)
    with pytest.raises(InvalidInput, match=r"'a\.ipynb' is not a notebook"):
        await execute_file(session, path)


async def test_other_files_other_languages_and_arguments_for_a_notebook_are_refused(
    session: Session, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(InvalidInput, match=r"neither a \.py nor"):
        await execute_file(session, tmp_path / "a.txt")
    with pytest.raises(InvalidInput, match="notebook for R"):
        await execute_file(session, notebook_file(tmp_path / "r.ipynb", "1", language="R"))
    with pytest.raises(InvalidInput, match=r"`arguments` are for \.py files"):
        await execute_file(session, notebook_file(tmp_path / "a.ipynb", "1"), arguments=["x"])


async def test_a_file_that_finds_the_queue_full_is_not_run(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("full_queue_ran = True")
    blocking = session.submit("import time; time.sleep(60)")
    while not session.executing:
        await asyncio.sleep(0.01)
    waiting = []
    with pytest.raises(QueueFull):
        while True:
            waiting.append(session.submit("1"))
    with pytest.raises(QueueFull):
        await execute_file(session, path)
    for ongoing in (*waiting, blocking):
        await session.cancel(ongoing)
    assert (await session.execute("'full_queue_ran' in globals()")).text == "False"
