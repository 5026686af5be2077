"""Run a Python file or a notebook in a session."""

import asyncio
import json
import math
import secrets
import tokenize
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import nbformat

from kernel_exec.errors import InvalidInput, KernelExecError
from kernel_exec.kernels import Kernel, KernelEnded
from kernel_exec.sessions.execution import Execution
from kernel_exec.sessions.inside import call
from kernel_exec.sessions.ongoing import OngoingExecution
from kernel_exec.sessions.session import Session

__all__ = ["FileRun", "Step", "execute_file"]


@dataclass(frozen=True, slots=True)
class Step:
    """The execution number *number* of *total* that a file needs, as it is submitted."""

    number: int
    total: int
    ongoing: OngoingExecution


@dataclass(frozen=True, slots=True)
class FileRun:
    """What became of a file: its *executions*, of *total* that it needs.

    *complete*: it was run to its end, with no error but those that the notebook expects.
    """

    executions: tuple[Execution, ...]
    total: int
    complete: bool


@dataclass(frozen=True, slots=True)
class _Cell:
    source: str
    expects_error: bool = False


async def execute_file(
    session: Session,
    path: Path,
    *,
    arguments: Sequence[str] = (),
    timeout_seconds: float | None = None,
    inputs: Sequence[str] = (),
    allow_stdin: bool = False,
    on_step: Callable[[Step], None] | None = None,
) -> FileRun:
    """Run the file at *path*, which the caller may read, and wait for its end.

    A `.py` file is one execution, with `sys.argv` and `__file__` as a script has them. The code cells of
    a `.ipynb` file are one execution each; those with the tag `skip-execution` are left out, and the
    first that is not `ok` is the last, unless it raised and has the tag `raises-exception`.
    *timeout_seconds*, *inputs* and *allow_stdin* are as in `Session.submit`: the timeout is for each
    execution, the inputs are for all together. *on_step* is told of each execution as it is submitted.
    A caller that is cancelled interrupts what runs, and nothing after that is run.

    Raises: InvalidInput, when the file cannot be understood; what `Session.submit` raises.
    """
    cells = await asyncio.to_thread(_read, path)
    if arguments and path.suffix != ".py":
        raise InvalidInput("`arguments` are for .py files; a notebook has none.", "Leave them out.")
    done: list[Execution] = []
    for number, cell in enumerate(cells, start=1):
        async with _as_script(session, cell.source, path, arguments):
            ongoing = session.submit(
                cell.source, timeout_seconds=timeout_seconds, inputs=inputs, allow_stdin=allow_stdin
            )
            if on_step is not None:
                on_step(Step(number, len(cells), ongoing))
            try:
                await ongoing.finished.wait()
            except asyncio.CancelledError:
                with anyio.CancelScope(shield=True):
                    await session.cancel(ongoing)
                raise
        inputs = [*ongoing.inputs]
        done.append(session.snapshot(ongoing))
        if done[-1].status != "ok" and not (cell.expects_error and done[-1].status == "error"):
            return FileRun(tuple(done), len(cells), complete=False)
    return FileRun(tuple(done), len(cells), complete=True)


@asynccontextmanager
async def _as_script(
    session: Session, source: str, path: Path, arguments: Sequence[str]
) -> AsyncIterator[None]:
    """Tell the kernel what `sys.argv` and `__file__` are for the next execution of *source*.

    That is sent before the code and not waited for: the kernel takes it up before the code, also when
    other executions come before both.
    """
    kernel = session.kernel
    if path.suffix != ".py" or kernel is None:
        yield
        return
    token = secrets.token_hex(8)
    arming = call("script.py", "arm", token, source, str(path), [*arguments])
    armed = await _send(kernel, arming)
    try:
        yield
        await armed
    except BaseException:
        # It may not have begun: then a later execution of the same source must not be taken for it.
        with anyio.CancelScope(shield=True):
            (await _send(kernel, call("script.py", "disarm", token))).cancel()
        raise
    finally:
        armed.cancel()


async def _send(kernel: Kernel, expression: str) -> asyncio.Task[None]:
    """Send the kernel an expression; the task waits for the answer, as long as that takes."""

    async def evaluate() -> None:
        try:
            await kernel.evaluate(expression, timeout_seconds=math.inf)
        except KernelEnded:
            return
        except ValueError as error:
            raise KernelExecError(f"sys.argv could not be set: {error}.", "restart_session helps.") from error

    task = asyncio.create_task(evaluate())
    await asyncio.sleep(0)  # it has been sent when its first wait begins
    return task


def _read(path: Path) -> list[_Cell]:
    match path.suffix:
        case ".py":
            return [_Cell(_python(path))]
        case ".ipynb":
            return _notebook(path)
    raise InvalidInput(f"{path.name!r} is neither a .py nor an .ipynb file.", "Only these can be run.")


def _python(path: Path) -> str:
    try:
        with tokenize.open(path) as file:
            return file.read()
    except (SyntaxError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{path.name!r} cannot be decoded: {error}.",
            "Save it as UTF-8, or declare its encoding (PEP 263).",
        ) from error


def _notebook(path: Path) -> list[_Cell]:
    try:
        document = json.loads(path.read_bytes())
        if "nbformat" not in document:
            raise ValueError("it does not say which nbformat it has")
        # Not `nbformat.read`: it logs what is wrong, and a notebook that is nearly valid runs well.
        notebook = nbformat.convert(  # type: ignore[no-untyped-call]
            nbformat.reader.reads(json.dumps(document)),  # type: ignore[no-untyped-call]
            4,
        )
        language = notebook.metadata.get("language_info", {}).get("name", "python")
        cells = [
            _Cell(cell.source, "raises-exception" in tags)
            for cell in notebook.cells
            if cell.cell_type == "code"
            and "skip-execution" not in (tags := cell.metadata.get("tags", []))
            and cell.source.strip()
        ]
    except Exception as error:  # a document that is no notebook can fail anywhere
        raise InvalidInput(
            f"{path.name!r} is not a notebook: {type(error).__name__}: {error}."[:500],
            "Check the file; nbformat 3 and later can be read.",
        ) from error
    if "python" not in str(language).lower():
        raise InvalidInput(
            f"{path.name!r} is a notebook for {language}, not for Python.", "It cannot be run."
        )
    return cells
