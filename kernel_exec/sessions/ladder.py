"""Carry one execution out: wait for its end, and climb the ladder when that does not come."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from kernel_exec.kernels import InputRequest, Kernel, KernelEnded, Message
from kernel_exec.kernels.limits import size
from kernel_exec.sessions.execution import Status
from kernel_exec.sessions.ongoing import OngoingExecution
from kernel_exec.sessions.recorder import Recorder

__all__ = ["Outcome", "carry_out"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an execution ended; with *kernel_lost*, its variables and all before them went with it."""

    status: Status
    note: str = ""
    kernel_lost: bool = False


async def carry_out(
    kernel: Kernel,
    ongoing: OngoingExecution,
    recorder: Recorder,
    on_input: Callable[[InputRequest], None],
    *,
    grace_seconds: float,
    leave: asyncio.Event,
) -> Outcome:
    """Execute and return when it is over, whatever the code does.

    After the execution's timeout it is interrupted; *grace_seconds* later again; as much later the
    kernel's process tree is killed. Returns early when *leave* is set: then the code still runs.
    """
    can_ask = ongoing.allow_stdin or bool(ongoing.inputs)
    request = kernel.execute(ongoing.source, on_output=recorder, on_input=on_input if can_ask else None)
    end = asyncio.create_task(request.finished())
    left = asyncio.create_task(leave.wait())
    interrupts = 0
    try:
        for limit in (ongoing.timeout_seconds, grace_seconds, grace_seconds):
            done, _ = await asyncio.wait({end, left}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if done:
                break
            ongoing.timed_out = True
            if interrupts == 2:
                await kernel.kill()
                await asyncio.wait({end})
            else:
                interrupts += 1
                await kernel.interrupt()
        if not end.done():
            return Outcome(
                "interrupted", "The session was given a new kernel while this ran.", kernel_lost=True
            )
        return _outcome(kernel, ongoing, recorder, end, interrupts)
    finally:
        end.cancel()
        left.cancel()


def _outcome(
    kernel: Kernel, ongoing: OngoingExecution, recorder: Recorder, end: asyncio.Task[Message], interrupts: int
) -> Outcome:
    limit = f"It was interrupted after {ongoing.timeout_seconds:g} s (timeout_seconds)"
    try:
        reply = end.result()
    except KernelEnded:
        if ongoing.timed_out and interrupts == 2:
            return Outcome(
                "timeout", f"{limit}, did not react twice, and the kernel was killed.", kernel_lost=True
            )
        return Outcome("died", f"The kernel {kernel.ended.result()}.", kernel_lost=True)
    if reply["status"] == "error" and not recorder.saw_error:
        recorder.add_error(reply)
    if ongoing.timed_out:
        again = " and again, to which it reacted" if interrupts > 1 else ""
        return Outcome("timeout", f"{limit}{again}. Variables are kept.")
    guard = kernel.watched.guard
    if guard.interrupted_at:
        status: Status = "ok" if reply["status"] == "ok" else "interrupted"
        return Outcome(status, f"It was interrupted at {guard.interrupted_at}. Variables are kept.")
    if reply["status"] == "ok":
        return Outcome("ok")
    if reply.get("ename") == "MemoryError":
        limit = size(guard.limits.memory_bytes)
        return Outcome("error", f"The memory limit of a session is {limit} (memory_limit_bytes).")
    return Outcome("interrupted" if ongoing.interrupted else "error")
