"""An exception as its reader needs it: the user's frames, and what was raised."""

import re
from itertools import groupby

from kernel_exec.server.content.terminal import show
from kernel_exec.sessions.outputs import Error

__all__ = ["traceback_text"]

HEAD_FRAMES, TAIL_FRAMES = 5, 15

# `Cell In[1], line 2, in f(x)`, `File ~/x.py:12, in f(x)`; IPython 7 had `~/x.py in f(x)`.
_FRAME = re.compile(
    r"\s*(?:Cell|Input) In ?\[|\s*File (?P<path>[^\n]+?)(?::\d+|, line \d+| in )"
    r"|(?P<old>(?:[A-Za-z]:)?[^\s:]+) in [^\n]+[(>]"
)
_HEADING = re.compile(r"(?<=\S) {3,}(?=Traceback \()")
_LIBRARY = re.compile(
    r"[\\/](?:site-packages|dist-packages|IPython|ipykernel)[\\/]"
    r"|[\\/]lib[\\/]python3\.\d+[\\/]|[\\/]python3?\d*[\\/]lib[\\/]"
    r"|<frozen |<magic-|\.(?:pyx|pxd|pxi)$",
    re.IGNORECASE,
)


def traceback_text(error: Error) -> str:
    """The traceback without colours; frames of libraries are one line, but for the one that raised."""
    entries = [_HEADING.sub("  ", show(entry).rstrip("\n")) for entry in error.traceback]
    entries = [entry for entry in entries if entry.strip(" -\n")]
    final = f"{error.name}: {error.value}".rstrip(": ")
    if not entries:
        return show(final)
    kinds = [_kind(entry) for entry in entries]
    for position, kind in enumerate(kinds):
        if kind == "library" and kinds[position + 1 : position + 2] in ([""], []):
            kinds[position] = "user"  # the frame that raised
    lines: list[str] = []
    for kind, group in groupby(zip(kinds, entries, strict=True), key=lambda pair: pair[0]):
        members = [entry for _, entry in group]
        lines += [_count(len(members), "library")] if kind == "library" else members
    return "\n".join(_without_middle(lines))


def _kind(entry: str) -> str:
    """`user` or `library` for a frame, nothing for a heading or the exception itself."""
    frame = _FRAME.match(entry)
    if frame is None:
        return ""
    return "library" if _LIBRARY.search(frame["path"] or frame["old"] or "") else "user"


def _without_middle(lines: list[str]) -> list[str]:
    left_out = len(lines) - HEAD_FRAMES - TAIL_FRAMES
    if left_out < 2:
        return lines
    return [*lines[:HEAD_FRAMES], _count(left_out, "more"), *lines[-TAIL_FRAMES:]]


def _count(number: int, kind: str) -> str:
    return f"[{number:,} {kind} frame{'s'[: number != 1]}]"
