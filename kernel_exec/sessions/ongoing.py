"""An execution that has been accepted and is not over."""

import asyncio
from collections import deque
from collections.abc import Sequence

from kernel_exec.errors import InvalidInput
from kernel_exec.kernels import InputRequest
from kernel_exec.sessions.tracing import current_context

__all__ = ["OngoingExecution", "check_source"]


class OngoingExecution:
    """Queued, running or waiting for input; the session that made it carries it out.

    Its code is interrupted *timeout_seconds* after it started to run. *inputs* answer its `input()` calls
    in turn.
    """

    def __init__(
        self, number: int, source: str, timeout_seconds: float, inputs: Sequence[str], *, allow_stdin: bool
    ) -> None:
        self.number = number
        self.source = source
        self.timeout_seconds = timeout_seconds
        self.allow_stdin = allow_stdin
        self.inputs = deque(inputs)
        self.asked: InputRequest | None = None
        self.questions = 0
        self.interrupted = False
        self.timed_out = False
        self.finished = asyncio.Event()
        self.trace_context = current_context()
        self._settled = asyncio.Event()

    @property
    def id(self) -> str:
        """The identifier that callers use."""
        return f"e{self.number}"

    @property
    def settled(self) -> bool:
        """Whether it is over or waits for input: nothing more happens by itself."""
        return self._settled.is_set()

    async def wait(self, seconds: float | None = None) -> None:
        """Return when it is over or waits for input, or after *seconds*; cancelling ends only the wait."""
        try:
            async with asyncio.timeout(seconds):
                await self._settled.wait()
        except TimeoutError:
            return

    def ask(self, request: InputRequest) -> None:
        """The code waits for a line of input."""
        self.asked = request
        self.questions += 1
        self._settled.set()

    def answered(self) -> None:
        """The code goes on."""
        self.asked = None
        self._settled.clear()

    def finish(self) -> None:
        """It is over, and recorded."""
        self.asked = None
        self.finished.set()
        self._settled.set()


def check_source(code: str) -> None:
    """Raise InvalidInput for what no kernel can be sent."""
    try:
        code.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"The code has a lone surrogate, {code[error.start]!r}, at character {error.start}.",
            "Python source is Unicode text; write such a character as an escape in a string literal.",
        ) from None
