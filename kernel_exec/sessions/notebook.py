"""A session's history as a Jupyter notebook."""

from collections.abc import Iterable
from typing import Literal

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output

from kernel_exec.sessions.execution import Execution
from kernel_exec.sessions.history import SessionRecord
from kernel_exec.sessions.outputs import DisplayData, Error, ExecuteResult, Output, Stream

__all__ = ["render", "to_notebook"]


def to_notebook(
    record: SessionRecord, executions: Iterable[Execution], *, include_failed: bool = True
) -> NotebookNode:
    """The executions as cells of a notebook, nbformat 4.5."""
    cells = []
    for execution in executions:
        if execution.status == "ok" or include_failed:
            outputs = [_output(output) for output in execution.outputs]
            cells.append(new_code_cell(execution.source, execution_count=execution.count, outputs=outputs))
    return new_notebook(cells=cells, metadata={"language_info": record.kernel_info.get("language_info", {})})


def render(notebook: NotebookNode, form: Literal["ipynb"]) -> str:
    """The notebook as text."""
    text: str = nbformat.writes(notebook)
    return text


def _output(output: Output) -> NotebookNode:
    match output:
        case Stream():
            return new_output("stream", name=output.name, text=output.text)
        case Error():
            return new_output(
                "error", ename=output.name, evalue=output.value, traceback=list(output.traceback)
            )
        case ExecuteResult():
            return new_output("execute_result", output.data, execution_count=output.count)
        case DisplayData():
            return new_output("display_data", output.data)
