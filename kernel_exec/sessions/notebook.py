"""A session's history as a notebook: nbformat 4.5, a Python file, or HTML."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import nbformat
from nbformat import NotebookNode

from kernel_exec.environments.files import in_thread, write_whole
from kernel_exec.errors import InvalidInput, KernelExecError
from kernel_exec.sessions.execution import Execution
from kernel_exec.sessions.history import History, SessionRecord
from kernel_exec.sessions.outputs import Error, ExecuteResult, Output, Stream
from kernel_exec.sessions.percent import to_percent
from kernel_exec.workspace import file_to_write

__all__ = ["Format", "export", "render", "session_notebook", "to_notebook"]

Format = Literal["ipynb", "py", "html"]
FAILED = {"error", "timeout", "interrupted", "died"}
# What runs a notebook goes on after an error in a cell with the first tag, and leaves out a cell with the
# second. To run again what hung or killed the kernel would hang or kill it again.
# https://nbclient.readthedocs.io/en/latest/client.html
TAGS = {"error": "raises-exception"} | dict.fromkeys(FAILED - {"error"}, "skip-execution")


def to_notebook(
    record: SessionRecord,
    executions: Iterable[Execution],
    *,
    include_failed: bool = True,
    widgets: Mapping[str, Any] | None = None,
    requirements: Iterable[str] = (),
) -> NotebookNode:
    """A notebook with a cell for each execution that began, with whole outputs.

    Those that raised, were interrupted, timed out or took the kernel with them have a tag, so that the
    notebook can be run again, or are left out. *widgets* is what `WidgetLog.read` gives. *requirements*
    are kept in the metadata; `Environments.create` with `requirements_file` takes them from there.
    """
    language = dict(record.kernel_info.get("language_info", {}))
    version = str(language.get("version", ""))
    metadata: dict[str, Any] = {
        "kernelspec": {
            "name": record.environment,
            "display_name": f"{record.environment} (Python {version})",
            "language": language.get("name", "python"),
        },
        "language_info": {"name": "python"} | language,
        "kernel_exec": {"session": record.name, "python": version, "requirements": [*requirements]},
    }
    if widgets:
        metadata["widgets"] = widgets
    cells = [
        _cell(execution)
        for execution in executions
        if _began(execution) and (include_failed or execution.status not in FAILED)
    ]
    document = {"metadata": metadata, "cells": cells, "nbformat": 4, "nbformat_minor": 5}
    notebook: NotebookNode = nbformat.from_dict(document)  # type: ignore[no-untyped-call]
    return notebook


async def session_notebook(
    history: History,
    record: SessionRecord,
    *,
    include_failed: bool = True,
    requirements: Iterable[str] = (),
) -> NotebookNode:
    """The notebook of a session, open or closed. Large outputs are read in a thread."""
    make = partial(
        to_notebook,
        include_failed=include_failed,
        widgets=history.widgets.read(record.id),
        requirements=requirements,
    )
    return await in_thread(make, record, [*history.executions(record.id)])


def render(notebook: NotebookNode, format: Format) -> str:
    """The text of the file: the notebook itself, a Python file (see `percent`), or a page of HTML.

    Raises: KernelExecError, when what makes HTML is not installed.
    """
    match format:
        case "ipynb":
            # Not `nbformat.writes`: it checks first, which takes seconds for large outputs.
            return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        case "py":
            return to_percent(notebook)
        case "html":
            return _html(notebook)


async def export(notebook: NotebookNode, path: str, workspace: Path, *, format: Format | None = None) -> Path:
    """Write the notebook to *path* in the workspace, whole or not at all; returns where it is.

    Without *format*, the ending of *path* says it.

    Raises: PathNotAllowed, InvalidInput, OSError; KernelExecError, when what makes HTML is not installed.
    """
    target = file_to_write(path, workspace)
    ending = target.suffix.removeprefix(".").lower()
    if format is None and ending not in get_args(Format):
        raise InvalidInput(
            f"The ending of {path!r} names no format.", "Use .ipynb, .py or .html, or pass `format`."
        )
    await in_thread(_write, notebook, target, format or ending)
    return target


def _write(notebook: NotebookNode, target: Path, format: Format) -> None:
    write_whole(target, render(notebook, format))


def _html(notebook: NotebookNode) -> str:
    try:
        from nbconvert import HTMLExporter
    except ImportError as error:
        raise KernelExecError(
            "HTML needs nbconvert, which is not installed.",
            "Run `pip install 'kernel-exec[html]'` where the server runs, or export .ipynb.",
        ) from error
    exporter = HTMLExporter()  # type: ignore[no-untyped-call]
    page, _ = exporter.from_notebook_node(notebook)
    return str(page)


def _began(execution: Execution) -> bool:
    """Whether the kernel was given the code. One that was never started has taken no time at all."""
    return execution.status != "queued" and (execution.count is not None or execution.elapsed_seconds > 0)


def _cell(execution: Execution) -> dict[str, Any]:
    told: dict[str, Any] = {"status": execution.status, "seconds": round(execution.elapsed_seconds, 3)}
    told |= {name: value for name, value in asdict(execution.spent).items() if value is not None}
    if execution.note:
        told["note"] = execution.note
    if execution.dropped_bytes:
        told["dropped_bytes"] = execution.dropped_bytes
    tags = {"tags": [TAGS[execution.status]]} if execution.status in TAGS else {}
    return {
        "cell_type": "code",
        "id": execution.id,
        "metadata": tags | {"kernel_exec": told},
        "execution_count": execution.count,
        "source": execution.source,
        "outputs": [_output(output) for output in execution.outputs],
    }


def _output(output: Output) -> dict[str, Any]:
    match output:
        case Stream():
            return {"output_type": "stream", "name": output.name, "text": output.text}
        case Error():
            traceback = [*output.traceback]
            return {
                "output_type": "error",
                "ename": output.name,
                "evalue": output.value,
                "traceback": traceback,
            }
    bundle = {
        "metadata": output.metadata or {},
        "data": {mime: _medium(mime, value) for mime, value in output.data.items()},
    }
    if isinstance(output, ExecuteResult):
        return {"output_type": "execute_result", "execution_count": output.count} | bundle
    return {"output_type": "display_data"} | bundle


def _medium(mime: str, value: Any) -> Any:
    """Text, except where the type is JSON: code may display anything, the format may not."""
    if isinstance(value, str) or mime == "application/json" or mime.endswith("+json"):
        return value
    return json.dumps(value, ensure_ascii=False)
