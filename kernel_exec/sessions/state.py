"""What a session is doing and using."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["SessionState", "State"]

State = Literal["starting", "idle", "busy", "waiting_for_input", "failed", "closed"]


@dataclass(frozen=True, slots=True)
class SessionState:
    """A session at one moment. Memory and CPU are of the whole process tree, None without a kernel."""

    name: str
    environment: str
    directory: str
    state: State
    queue: int
    executions: int
    idle_seconds: float
    memory_bytes: int | None
    cpu_seconds: float | None
    processes: int | None
