"""How a kernel's process ended, and why, as far as the numbers show it."""

import re
import signal
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Ending", "oom_kills"]

VMSTAT = Path("/proc/vmstat")


@dataclass(frozen=True, slots=True)
class Ending:
    """*returncode* is negative for a signal, as in `subprocess`; *out_of_memory* is set when the
    system's count of out-of-memory kills rose meanwhile. *limit* says which limit it was killed at.
    """

    returncode: int | None
    out_of_memory: bool = False
    peak_memory_bytes: int | None = None
    limit: str = ""

    def __str__(self) -> str:
        if self.limit:
            return f"was killed at {self.limit}"
        if self.out_of_memory:
            size = f" at {self.peak_memory_bytes / 2**30:.1f} GiB" if self.peak_memory_bytes else ""
            return f"was killed by the system: out of memory{size}"
        if self.returncode is None:
            return "ended"
        if self.returncode >= 0:
            return f"exited with code {self.returncode}"
        try:
            return f"was killed by {signal.Signals(-self.returncode).name}"
        except ValueError:
            return f"was killed by signal {-self.returncode}"


def oom_kills() -> int:
    """How many processes the system has killed for lack of memory since it booted (Linux; else 0).

    The counter `oom_kill` of https://docs.kernel.org/filesystems/proc.html counts the kills of
    control groups too.
    """
    try:
        match = re.search(r"^oom_kill (\d+)$", VMSTAT.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(match[1]) if match else 0
