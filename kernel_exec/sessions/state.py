"""What a session is doing and using."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["SessionState", "State"]

State = Literal["starting", "idle", "busy", "waiting_for_input", "asleep", "failed", "closed"]


@dataclass(frozen=True, slots=True)
class SessionState:
    """A session at one moment. What it uses is of the whole process tree, None without a kernel.

    *cpu_percent* is of one core, in the last second; `asleep` means that it was idle for so long that its
    kernel was shut down.
    """

    name: str
    environment: str
    directory: str
    state: State
    queue: int
    executions: int
    idle_seconds: float
    memory_bytes: int | None
    memory_limit_bytes: int | None
    cpu_seconds: float | None
    cpu_percent: float | None
    processes: int | None
    threads: int | None
    read_bytes: int | None
    written_bytes: int | None
