"""Fail if a process that works in the directory given, or a socket in it, is left."""

import subprocess
import sys
import time

import psutil

GRACE_SECONDS = 5


def left(scratch: str) -> list[str]:
    """A line for each process and each socket."""
    # Not pathlib, which asks for the state of each file: there are some hundred thousand.
    sockets = subprocess.run(["find", scratch, "-type", "s"], check=True, capture_output=True, text=True).stdout
    found = [f"socket {path}" for path in sockets.splitlines()]
    # Those above us, and what they run besides us to show our output. A process left behind is none of them.
    above = psutil.Process().parents()
    ours = {process.pid for process in (psutil.Process(), *above)}
    ours |= {process.pid for one in above[:2] for process in one.children()}
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
            inherited = process.environ().get("TMPDIR", "").startswith(scratch)
        except psutil.Error:
            continue
        if (inherited or scratch in words) and process.pid not in ours:
            found.append(f"process {process.pid}: {words[:300]}")
    return found


def main() -> int:
    """The exit code."""
    deadline = time.monotonic() + GRACE_SECONDS
    while (found := left(sys.argv[1])) and time.monotonic() < deadline:
        time.sleep(0.2)
    print("\n".join(found) or "No process and no socket.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
