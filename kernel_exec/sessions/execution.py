"""One run of code in a session, as a value."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from kernel_exec.kernels import Spent
from kernel_exec.sessions.outputs import Error, ExecuteResult, Output, Stream

__all__ = ["FINAL", "Execution", "Status"]

Status = Literal["queued", "running", "waiting_for_input", "ok", "error", "timeout", "interrupted", "died"]
FINAL: frozenset[Status] = frozenset(get_args(Status)) - {"queued", "running", "waiting_for_input"}
NOTHING = Spent()


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of code in a session, as it was when it was asked for.

    *id* is unique in the data directory. *count* is the kernel's own number, None when the kernel never
    gave one. *outputs* are in order of arrival. *note* says what a reader must know beyond the outputs:
    how a timeout was carried out, why the kernel died, what was lost. *prompt* is what `input()` asks
    while the status is `waiting_for_input`. *position* is how many executions come before a queued one.
    *dropped_bytes* counts output past `output_limit_bytes`, which was not kept. *spent* is what it took, once
    it is over.
    """

    id: str
    session: str
    environment: str
    source: str
    status: Status
    count: int | None
    outputs: Sequence[Output]
    elapsed_seconds: float
    note: str = ""
    prompt: str = ""
    position: int = 0
    memory_bytes: int | None = None
    dropped_bytes: int = 0
    spent: Spent = NOTHING

    @property
    def finished(self) -> bool:
        """Whether the status is final."""
        return self.status in FINAL

    @property
    def text(self) -> str:
        """All that was written to stdout and stderr, then the result's plain text."""
        parts = [output.text for output in self.outputs if isinstance(output, Stream)]
        parts += [
            str(output.data.get("text/plain", ""))
            for output in self.outputs
            if isinstance(output, ExecuteResult)
        ]
        return "".join(parts)

    @property
    def error(self) -> Error | None:
        """The exception that ended the code, if one did."""
        return next((output for output in self.outputs if isinstance(output, Error)), None)
