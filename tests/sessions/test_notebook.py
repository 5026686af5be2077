import ast
import builtins
import json
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from kernel_exec.errors import InvalidInput, KernelExecError, PathNotAllowed
from kernel_exec.runtime import Runtime
from kernel_exec.sessions.execution import Execution, Status
from kernel_exec.sessions.history import SessionRecord
from kernel_exec.sessions.notebook import export, render, session_notebook, to_notebook
from kernel_exec.sessions.outputs import DisplayData, Error, ExecuteResult, Output, Stream, Text
from tests.conftest import OpenSession

LANGUAGE = {"name": "python", "version": "3.12.1", "file_extension": ".py"}
RECORD = SessionRecord(1, "main", "default", Path(), {"language_info": LANGUAGE}, 0.0)


def execution(source: str, status: Status = "ok", *outputs: Output, count: int | None = 1) -> Execution:
    return Execution("e7", "main", "default", source, status, count, outputs, 0.25, note="why")


def python(*sources: str) -> str:
    return render(to_notebook(RECORD, [execution(source) for source in sources]), "py")


def test_every_kind_of_output_makes_a_valid_notebook() -> None:
    outputs = (
        Stream("stdout", Text.of("é\n")),
        DisplayData({"text/plain": "x", "image/png": "aWNv", "application/json": {"a": [1]}}, {"width": 1}),
        DisplayData({"text/plain": 5, "text/html": ["<b>", "x"], "application/vnd.x+json": [1]}),
        ExecuteResult({"text/plain": "2"}, 1),
        Error("ValueError", "bad", ("one", "two")),
    )
    notebook = to_notebook(RECORD, [execution("1 + 1", "error", *outputs)], requirements=["pandas==2.2"])
    again = nbformat.reads(render(notebook, "ipynb"), as_version=4)
    nbformat.validate(again)
    assert again.metadata.kernelspec == {
        "name": "default",
        "display_name": "default (Python 3.12.1)",
        "language": "python",
    }
    assert again.metadata.language_info == LANGUAGE
    assert again.metadata.kernel_exec.requirements == ["pandas==2.2"]
    (cell,) = again.cells
    assert (cell.id, cell.execution_count) == ("e7", 1)
    assert cell.metadata.kernel_exec == {"status": "error", "seconds": 0.25, "note": "why"}
    assert cell.outputs[1].data["image/png"] == "aWNv"
    assert cell.outputs[2].data["text/plain"] == "5"


@pytest.mark.parametrize(
    ("status", "tags"),
    [
        ("ok", None),
        ("running", None),
        ("error", ["raises-exception"]),
        ("timeout", ["skip-execution"]),
        ("interrupted", ["skip-execution"]),
        ("died", ["skip-execution"]),
    ],
)
def test_a_cell_that_failed_has_the_tag_that_lets_the_notebook_run_again(
    status: Status, tags: list[str] | None
) -> None:
    notebook = to_notebook(RECORD, [execution("x", status)])
    assert notebook.cells[0].metadata.get("tags") == tags


def test_what_never_began_and_on_request_what_failed_is_left_out() -> None:
    never = Execution("e1", "main", "default", "never", "interrupted", None, (), 0.0)
    queued = Execution("e2", "main", "default", "queued", "queued", None, (), 0.0)
    all_of_them = [never, queued, execution("good"), execution("bad", "error"), execution("hung", "timeout")]
    assert [cell.source for cell in to_notebook(RECORD, all_of_them).cells] == ["good", "bad", "hung"]
    assert [cell.source for cell in to_notebook(RECORD, all_of_them, include_failed=False).cells] == ["good"]


def test_a_python_file_has_magics_and_what_is_no_python_in_comments() -> None:
    text = python(
        "%matplotlib inline\nx = 1",
        "files = !ls",
        "len?",
        "%%time\ny = 2",
        "%%bash -l\nls\necho hi",
        "%%writefile a.py\nimport os",
        "if True:\n    %time 1",
        "def f(:",
        "await x",
        "'''\n%no magic\n'''",
        "f'''\n!x\n'''",
        "\x00",
    )
    ast.parse(text)
    assert text.startswith('# ---\n# jupyter:\n#   kernelspec:\n#     name: "default"\n')
    cells = [cell.strip("\n") for cell in text.split("# %%\n")[1:]]
    assert cells[0] == "# %matplotlib inline\nx = 1"
    assert cells[1:4] == ["# files = !ls", "# len?", "# %%time\ny = 2\n\n" + cells[3].split("\n\n", 1)[1]]
    assert '# %% magic_args="-l" language="bash"\n# ls\n# echo hi\n' in text
    assert "# %%writefile a.py\n# import os\n" in text
    assert "# if True:\n#     %time 1\n" in text
    assert "# def f(:\n" in text
    assert "await x\n" in text
    assert "'''\n%no magic\n'''\n" in text


def test_a_python_file_keeps_the_tags_of_its_cells() -> None:
    text = render(to_notebook(RECORD, [execution("1 / 0", "error")]), "py")
    assert text.endswith('\n# %% tags=["raises-exception"]\n1 / 0\n')


def test_html_has_code_and_outputs_of_the_notebook() -> None:
    notebook = to_notebook(RECORD, [execution("x = '<b>'", "ok", Stream("stdout", Text.of("<i>out</i>")))])
    page = render(notebook, "html")
    assert "&lt;i&gt;out&lt;/i&gt;" in page


def test_html_without_nbconvert_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    original: Callable[..., object] = builtins.__import__

    def without_nbconvert(name: str, *arguments: object) -> object:
        if name == "nbconvert":
            raise ImportError(name)
        return original(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without_nbconvert)
    with pytest.raises(KernelExecError, match=r"kernel-exec\[html\]"):
        render(to_notebook(RECORD, []), "html")


async def test_an_export_replaces_the_file_whole_and_stays_in_the_workspace(tmp_path: Path) -> None:
    workspace = tmp_path.resolve()
    (workspace / "a.ipynb").write_text("old")
    notebook = to_notebook(RECORD, [execution("1")])
    assert await export(notebook, "a.ipynb", workspace) == workspace / "a.ipynb"
    assert json.loads((workspace / "a.ipynb").read_text())["nbformat_minor"] == 5
    assert (await export(notebook, "b.txt", workspace, format="py")).read_text().startswith("# ---")
    assert {path.name for path in workspace.iterdir()} == {"a.ipynb", "b.txt"}
    with pytest.raises(InvalidInput, match="ending"):
        await export(notebook, "b.txt", workspace)
    with pytest.raises(PathNotAllowed):
        await export(notebook, "../a.ipynb", workspace)


async def test_a_closed_session_still_leaves_as_a_notebook(
    runtime: Runtime, open_session: OpenSession
) -> None:
    session = await open_session("leaves")
    await session.execute("print('x' * 100_000); '\\ud800'")
    await runtime.sessions.close("leaves")
    notebook = await session_notebook(runtime.history, runtime.sessions.record("leaves"))
    nbformat.validate(notebook)
    assert notebook.cells[0].outputs[0].text == "x" * 100_000 + "\n"
    render(notebook, "ipynb").encode()
