"""What is in a session's namespace, seen without running the user's code."""

import json
from dataclasses import dataclass
from typing import Any

from kernel_exec.errors import InvalidInput, KernelExecError, SessionClosed
from kernel_exec.kernels import KernelEnded
from kernel_exec.sessions.inside import call
from kernel_exec.sessions.session import Session

__all__ = ["Column", "Detail", "Variable", "Variables", "describe", "list_variables"]

LOOK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Variable:
    """*shape* is of arrays and tables, *length* of what has one. *size_bytes* is of the object itself: of
    a container without what it holds, of an array or table with its data.
    """

    name: str
    type: str
    shape: tuple[int, ...] | None
    length: int | None
    size_bytes: int | None
    preview: str


@dataclass(frozen=True, slots=True)
class Variables:
    """What the user's code has defined, by name; *omitted* counts what was past the limit."""

    variables: tuple[Variable, ...]
    functions: tuple[str, ...]
    classes: tuple[str, ...]
    modules: tuple[str, ...]
    omitted: int


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a DataFrame; *name* as `repr` has it."""

    name: str
    dtype: str


@dataclass(frozen=True, slots=True)
class Detail:
    """One object. *members* are the public names of a module, class or object; *version* and *file* are
    of modules. What does not apply or cannot be told is empty.
    """

    variable: Variable
    signature: str
    documentation: str
    columns: tuple[Column, ...]
    members: tuple[str, ...]
    version: str | None
    file: str | None


async def list_variables(session: Session, *, limit: int = 200) -> Variables:
    """The user's variables, functions, classes and modules, at most *limit* of each.

    Private names and those of IPython are left out. Works while code runs, see `describe`.

    Raises: what `describe` raises.
    """
    found = await _ask(session, "variables", limit)
    return Variables(
        tuple(_variable(one) for one in found["variables"]),
        tuple(found["functions"]),
        tuple(found["classes"]),
        tuple(found["modules"]),
        found["omitted"],
    )


async def describe(session: Session, name: str) -> Detail:
    """What *name* is: a name, or a dotted one such as `numpy.linalg.norm`, of the session or built in.

    Calls no `__repr__`, property or other code of the user. Works while code runs, in a subshell.

    Raises: InvalidInput, when there is no such name; KernelExecError, when the kernel cannot answer
    now; SessionClosed.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise InvalidInput(
            f"{name[:80]!r} is not a name.", "Give a name, or a dotted one such as `df.merge`."
        )
    found = await _ask(session, "detail", name)
    if "missing" in found:
        raise InvalidInput(
            f"Session {session.name!r} has no {found['missing']!r}.",
            "List its variables, or run the code that defines it. What an object computes when it is asked "
            "is not seen here: use execute_code.",
        )
    return Detail(
        _variable(found),
        found["signature"],
        found["documentation"],
        tuple(Column(column, dtype) for column, dtype in found["columns"]),
        tuple(found["members"]),
        found.get("version"),
        found.get("file"),
    )


def _variable(found: dict[str, Any]) -> Variable:
    shape = None if found["shape"] is None else tuple(found["shape"])
    return Variable(
        found["name"], found["type"], shape, found["length"], found["size_bytes"], found["preview"]
    )


async def _ask(session: Session, function: str, argument: str | int) -> dict[str, Any]:
    kernel = session.kernel
    if session.closed:
        raise SessionClosed(session.name)
    if kernel is None:
        raise KernelExecError(f"Session {session.name!r} has no kernel now.", "Call execute_code first.")
    if session.executing and not kernel.supports_subshells:
        raise KernelExecError(
            f"Session {session.name!r} is busy, and its kernel cannot be asked meanwhile.",
            "Wait for the code, or interrupt_session. With ipykernel 7 in the environment it could be.",
        )
    expression = call("probe.py", function, argument)
    try:
        answer = await kernel.evaluate(expression, timeout_seconds=LOOK_SECONDS, aside=session.executing)
    except TimeoutError as error:
        raise KernelExecError(
            f"Session {session.name!r} did not answer within {LOOK_SECONDS:g} s.",
            "Its code may hold the interpreter. Wait for it, or call interrupt_session.",
        ) from error
    except KernelEnded as error:
        raise KernelExecError(
            f"The kernel of session {session.name!r} ended.", "The next execution says why."
        ) from error
    except ValueError as error:
        raise KernelExecError(
            f"Session {session.name!r} could not be inspected: {error}.", "Use execute_code instead."
        ) from error
    found: dict[str, Any] = json.loads(answer)
    return found
