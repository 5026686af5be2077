"""Fail if a process that works in the directory given, or a socket in it, is left."""

import os
import sys
import time
from collections.abc import Iterator

import psutil

GRACE_SECONDS = 5


def sockets(directory: str) -> Iterator[str]:
    """The paths of sockets; told by kind, without asking for the state of some hundred thousand files."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from sockets(entry.path)
            elif not entry.is_symlink() and not entry.is_file(follow_symlinks=False):
                yield entry.path


def processes(scratch: str) -> Iterator[str]:
    """Processes that inherited our TMPDIR or were told of the directory."""
    # Not those above us, nor what they run besides us to show our output. One left behind is none of them.
    above = psutil.Process().parents()
    ours = {process.pid for process in (psutil.Process(), *above)}
    ours |= {process.pid for one in above[:2] for process in one.children()}
    for process in psutil.process_iter():
        try:
            known = [process.environ().get("TMPDIR", ""), *process.cmdline()]
            name = process.name()
        except psutil.Error:
            continue
        if process.pid not in ours and any(scratch in words for words in known):
            yield f"process {process.pid} {name}"


def left(scratch: str) -> list[str]:
    """A line for each."""
    return [*processes(scratch), *(f"socket {path}" for path in sockets(scratch))]


def main() -> int:
    """The exit code."""
    deadline = time.monotonic() + GRACE_SECONDS
    while (found := left(sys.argv[1])) and time.monotonic() < deadline:
        time.sleep(0.2)
    print("\n".join(found) or "No process and no socket.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
