"""A named kernel, its queue, and what happens when the code does not end or the kernel does."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, replace
from pathlib import Path

import anyio
import structlog

from kernel_exec.errors import (
    InvalidInput,
    KernelExecError,
    NotWaitingForInput,
    QueueFull,
    SessionClosed,
    StateLost,
)
from kernel_exec.kernels import InputRequest, Kernel, Meter, Spent
from kernel_exec.sessions.execution import Execution, Status
from kernel_exec.sessions.history import History, SessionRecord
from kernel_exec.sessions.ladder import Outcome, carry_out
from kernel_exec.sessions.ongoing import OngoingExecution, check_source
from kernel_exec.sessions.recorder import Recorder
from kernel_exec.sessions.slots import Slots
from kernel_exec.sessions.state import SessionState, State
from kernel_exec.sessions.tracing import Span
from kernel_exec.settings import Settings

__all__ = ["Session"]

log = structlog.get_logger(__name__)

StartKernel = Callable[[], AbstractAsyncContextManager[Kernel]]


class Session:
    """Runs code in its kernel, one execution at a time, first come first served.

    Made by `Sessions.open`. It outlives its kernels: `restart`, a death or a timeout that no interrupt
    ended replace the kernel and keep the session, its name and its history.
    """

    def __init__(
        self,
        name: str,
        principal: str,
        environment: str,
        directory: Path,
        *,
        server: str,
        settings: Settings,
        history: History,
        start_kernel: StartKernel,
        slots: Slots,
    ) -> None:
        self.name = name
        self.principal = principal
        self.environment = environment
        self.directory = directory
        self._server = server
        self._settings = settings
        self._history = history
        self._start_kernel = start_kernel
        self._slots = slots
        self._record: SessionRecord | None = None
        self._kernel: Kernel | None = None
        self._kernels_started = 0
        self._queue: deque[OngoingExecution] = deque()
        self._current: OngoingExecution | None = None
        self._wake = asyncio.Event()
        self._leave = asyncio.Event()
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lost: StateLost | None = None
        self._failed = False
        self._asleep = False
        self._closed = False
        self._executions = 0
        self._used = time.monotonic()
        self._task = asyncio.create_task(self._serve(), name=f"session {name}")

    # What callers ask for

    async def started(self) -> None:
        """Wait for a kernel. Raises: what kept it from starting."""
        await asyncio.shield(self._started)

    @property
    def record(self) -> SessionRecord:
        """What the history knows about it; there once a first kernel has started."""
        if self._record is None:
            raise KernelExecError(f"Session {self.name!r} has no kernel yet.", "Try again in a moment.")
        return self._record

    @property
    def kernel(self) -> Kernel | None:
        """The live kernel, if there is one."""
        return self._kernel

    @property
    def closed(self) -> bool:
        """Whether it accepts no more code."""
        return self._closed

    @property
    def executing(self) -> bool:
        """Whether code runs now."""
        return self._current is not None

    @property
    def queued(self) -> int:
        """How many executions wait for their turn."""
        return len(self._queue)

    def submit(
        self,
        code: str,
        *,
        timeout_seconds: float | None = None,
        inputs: Sequence[str] = (),
        allow_stdin: bool = True,
    ) -> OngoingExecution:
        """Queue code and return at once.

        The code is interrupted *timeout_seconds* (setting `timeout_seconds`) after it begins to run.
        *inputs* answer its `input()` calls; when there are no more of them the execution waits for
        `send_input`, or `input()` raises if *allow_stdin* is false.

        Raises: InvalidInput, QueueFull, SessionClosed; StateLost once after the kernel died unnoticed.
        """
        if self._closed:
            raise SessionClosed(self.name)
        check_source(code)
        timeout_seconds = timeout_seconds or self._settings.timeout_seconds
        if timeout_seconds > self._settings.max_timeout_seconds:
            raise InvalidInput(
                f"timeout_seconds={timeout_seconds:g} is more than {self._settings.max_timeout_seconds:g}.",
                "Ask for less, or raise the setting max_timeout_seconds.",
            )
        if len(self._queue) >= self._settings.queue_limit:
            raise QueueFull(self.name, self._settings.queue_limit)
        if self._lost is not None:
            lost, self._lost = self._lost, None
            self._asleep = False
            self._wake.set()
            raise lost
        number = self._history.add_execution(self.record.id, self._kernels_started, code)
        ongoing = OngoingExecution(number, code, timeout_seconds, inputs, allow_stdin=allow_stdin)
        self._queue.append(ongoing)
        self._executions += 1
        self._used = time.monotonic()
        self._wake.set()
        return ongoing

    async def execute(
        self, code: str, *, timeout_seconds: float | None = None, inputs: Sequence[str] = ()
    ) -> Execution:
        """Run code and wait for its end. A caller that is cancelled interrupts the code.

        Raises: what `submit` raises. An exception of the code is no error: it is in the result.
        """
        ongoing = self.submit(code, timeout_seconds=timeout_seconds, inputs=inputs, allow_stdin=False)
        try:
            await ongoing.finished.wait()
        except asyncio.CancelledError:
            await self.cancel(ongoing)
            raise
        return self.snapshot(ongoing)

    def snapshot(self, ongoing: OngoingExecution) -> Execution:
        """The execution as it is now."""
        execution = self._history.execution(ongoing.id, self.principal)
        if execution.finished:
            return execution
        return replace(
            execution,
            prompt=ongoing.asked.prompt if ongoing.asked else "",
            position=self._queue.index(ongoing) + (self._current is not None)
            if ongoing in self._queue
            else 0,
            memory_bytes=self._kernel.memory_bytes if self._kernel else None,
        )

    def find(self, execution: str) -> OngoingExecution | None:
        """The execution of this id, unless it is over or another session's."""
        ongoing = [self._current, *self._queue]
        return next((one for one in ongoing if one is not None and one.id == execution), None)

    def last_line(self, ongoing: OngoingExecution) -> str:
        """The last line that the code wrote so far."""
        return self._history.outputs.last_line(ongoing.number)

    def send_input(self, ongoing: OngoingExecution, text: str) -> None:
        """Answer the `input()` that the execution waits in.

        Raises: NotWaitingForInput.
        """
        if ongoing.asked is None or self._kernel is None:
            raise NotWaitingForInput(ongoing.id, self._history.execution(ongoing.id, self.principal).status)
        ongoing.answered()
        self._history.set_status(ongoing.number, "running")
        self._kernel.answer(text)

    async def cancel(self, ongoing: OngoingExecution) -> None:
        """Take the execution out of the queue, or interrupt it if it runs.

        Shielded, so that a cancelled caller can do it, and bounded.
        """
        if ongoing in self._queue:
            self._queue.remove(ongoing)
            self._finish(ongoing, "interrupted", "It was cancelled before it began.")
        elif ongoing is self._current and self._kernel is not None:
            ongoing.interrupted = True
            if ongoing.asked is not None:
                ongoing.answered()  # nobody will answer; what waits, waits for the end
            with anyio.CancelScope(shield=True):
                await self._kernel.interrupt()

    async def interrupt(self) -> OngoingExecution | None:
        """Interrupt what runs and wait for its end, at most `interrupt_grace_seconds`.

        Returns what ran: if it is not finished, the code did not listen. None when nothing ran.
        """
        ongoing = self._current
        if ongoing is None:
            return None
        await self.cancel(ongoing)
        try:
            async with asyncio.timeout(self._settings.interrupt_grace_seconds):
                await ongoing.finished.wait()
        except TimeoutError:
            log.info("interrupt ignored", session=self.name, execution=ongoing.id)
        return ongoing

    async def restart(self) -> None:
        """Give the session a new kernel; what ran or waited ends as interrupted.

        Raises: what kept the new kernel from starting.
        """
        if self._closed:
            raise SessionClosed(self.name)
        self._lost = None
        self._flush("It never began: the session was given a new kernel.")
        if self._started.done():  # else whoever waits for a kernel already gets this one
            self._started = asyncio.get_running_loop().create_future()
        self._leave.set()
        self._wake.set()
        await self.started()

    async def close(self) -> None:
        """End the kernel and all it started; what ran or waited ends as interrupted."""
        self._closed = True
        self._task.cancel()
        await asyncio.wait({self._task})

    async def state(self) -> SessionState:
        """Measure the session; takes some milliseconds."""
        kernel = self._kernel
        usage = await kernel.usage() if kernel else None
        return SessionState(
            name=self.name,
            environment=self.environment,
            directory=str(self.directory),
            state=self._state(),
            queue=len(self._queue),
            executions=self._executions,
            idle_seconds=0.0 if self._current else time.monotonic() - self._used,
            memory_bytes=usage.memory_bytes if usage else None,
            memory_limit_bytes=kernel.watched.guard.limits.memory_bytes if kernel else None,
            cpu_seconds=usage.cpu_seconds if usage else None,
            cpu_percent=kernel.watched.cpu_percent if kernel else None,
            processes=usage.processes if usage else None,
            threads=usage.threads if usage else None,
            read_bytes=usage.read_bytes if usage else None,
            written_bytes=usage.written_bytes if usage else None,
        )

    def _state(self) -> State:
        if self._closed:
            return "closed"
        if self._kernel is None:
            return "failed" if self._failed else "asleep" if self._asleep else "starting"
        if self._current is None:
            return "idle"
        return "waiting_for_input" if self._current.asked else "busy"

    # The task that owns the kernel

    async def _serve(self) -> None:
        """Keep a kernel alive and feed it, until the session is closed."""
        try:
            while True:
                try:
                    async with self._start_kernel() as kernel:
                        try:
                            await self._work(kernel)
                        finally:
                            self._kernel = None  # what is being ended is nobody's kernel any more
                    while self._asleep and not self._queue and not self._leave.is_set():
                        self._wake.clear()
                        await self._wake.wait()
                    self._asleep = False
                except KernelExecError as error:
                    self._fail(error)
                    if self._record is None:
                        return
                    await self._wake.wait()
        except Exception as error:
            log.exception("session failed", session=self.name)
            self._fail(error)
        finally:
            self._closed = True
            self._fail(SessionClosed(self.name))
            if self._record is not None:
                self._history.close_session(self._record.id)

    async def _work(self, kernel: Kernel) -> None:
        """Execute what is queued until the kernel is lost or given up."""
        self._kernels_started += 1
        if self._record is None:
            self._record = self._history.open_session(
                self.name, self.principal, self.environment, self.directory, self._server, kernel.info
            )
        self._history.set_marker(self._record.id, kernel.marker[1])
        self._leave.clear()
        self._kernel = kernel
        self._failed = False
        if not self._started.done():
            self._started.set_result(None)
        kernel.ended.add_done_callback(lambda _: self._wake.set())
        while True:
            self._wake.clear()
            if self._leave.is_set():
                return
            if kernel.ended.done():
                ending = f"The kernel of session {self.name!r} {kernel.ended.result()} since the last call."
                if not self._queue and self._lost_executions():
                    self._lost = StateLost(
                        f"{ending} {self._loss()}",
                        "This code was not run; the session is ready for the next call.",
                    )
                return self._flush(f"It never began. {ending} {self._loss()}")
            if not self._queue:
                try:
                    async with asyncio.timeout(self._settings.idle_timeout_seconds):
                        await self._wake.wait()
                except TimeoutError:
                    return self._fall_asleep()
            else:
                async with self._slots.one(self._wake, lambda: self._ready(kernel)) as granted:
                    if granted and await self._run(kernel, self._queue.popleft()):
                        if not self._leave.is_set():
                            self._flush("It never began: the kernel was lost in the execution before it.")
                        return

    async def _run(self, kernel: Kernel, ongoing: OngoingExecution) -> bool:
        """Run one execution to its end; returns whether the kernel was lost with it."""
        self._current = ongoing
        begun = time.monotonic()
        usage, guard = kernel.watched.fresh, kernel.watched.guard
        meter = Meter(kernel.pid)
        written = max(meter.written_bytes, usage.written_bytes if usage else 0)  # the reading may be old
        guard.begin(self.directory, written, kernel.pid)
        names = {"session": self.name, "environment": self.environment, "execution": ongoing.id}
        span = Span(ongoing.trace_context, names)
        self._history.start(ongoing.number, self._kernels_started)
        recorder = Recorder(self._history, self.record.id, ongoing.number, self._settings.output_limit_bytes)
        outcome = Outcome("interrupted", "The session was closed while this ran.")
        try:
            outcome = await carry_out(
                kernel,
                ongoing,
                recorder,
                lambda request: self._on_input(kernel, ongoing, request),
                grace_seconds=self._settings.interrupt_grace_seconds,
                leave=self._leave,
            )
        finally:
            self._current = None
            self._used = time.monotonic()
            note = f"{outcome.note} {self._loss()}" if outcome.kernel_lost else outcome.note
            if not outcome.kernel_lost and (killed := guard.children_killed()):
                note = f"{note} {killed} of its other processes died: killed at the memory limit.".strip()
            ended = kernel.ended.result().peak_memory_bytes if kernel.ended.done() else 0
            spent = meter.stop(max(kernel.watched.peak_bytes(begun), ended or 0))
            self._finish(ongoing, outcome.status, note, kernel.memory_bytes, spent)
            span.end(failed=outcome.status != "ok", attributes={"status": outcome.status, **asdict(spent)})
        return outcome.kernel_lost

    def _ready(self, kernel: Kernel) -> bool:
        """Whether there is something to run, and something to run it in."""
        return bool(self._queue) and not self._leave.is_set() and not kernel.ended.done()

    def _fall_asleep(self) -> None:
        """Nothing came for so long that the kernel is given up; what that costs is told once."""
        self._asleep = True
        if self._lost_executions():
            self._lost = StateLost(
                f"The kernel of session {self.name!r} was shut down after "
                f"{self._settings.idle_timeout_seconds:g} s without code. {self._loss()}",
                "This code was not run; the session is ready for the next call.",
            )

    def _on_input(self, kernel: Kernel, ongoing: OngoingExecution, request: InputRequest) -> None:
        if ongoing.inputs:
            kernel.answer(ongoing.inputs.popleft())
        else:
            self._history.set_status(ongoing.number, "waiting_for_input")
            ongoing.ask(request)

    def _lost_executions(self) -> int:
        return self._history.lost_with(self.record.id, self._kernels_started)

    def _loss(self) -> str:
        lost = self._lost_executions()
        return (
            f"Session {self.name!r} has a new kernel: the variables of {lost} "
            f"execution{'s' if lost != 1 else ''} are gone. To get them back, export_notebook and run it "
            "with execute_file."
        )

    def _fail(self, error: Exception) -> None:
        """No kernel: whoever waits for one is told why."""
        self._failed = True
        self._flush(f"It never began. {error}")
        self._wake.clear()
        if not self._started.done():
            self._started.set_exception(error)
            self._started.exception()  # nobody need be waiting

    def _flush(self, note: str) -> None:
        while self._queue:
            self._finish(self._queue.popleft(), "interrupted", note)

    def _finish(
        self,
        ongoing: OngoingExecution,
        status: Status,
        note: str,
        memory_bytes: int | None = None,
        spent: Spent | None = None,
    ) -> None:
        self._history.finish(ongoing.number, status, note, memory_bytes, spent)
        ongoing.finish()
