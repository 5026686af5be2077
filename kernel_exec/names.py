"""Names that come from outside, checked before they become paths, options or shell text."""

import re

from kernel_exec.errors import InvalidName

__all__ = ["NAME_PATTERN", "check_name"]

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"

# Windows cannot have a file of these names, in any case and with any extension:
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}


def check_name(name: str, kind: str) -> str:
    """Return *name* if an environment or session (*kind*) may have it.

    Raises: InvalidName.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise InvalidName(
            f"{name[:80]!r} is not a valid {kind} name.",
            "Use 1 to 64 ASCII letters, digits, '_' or '-', starting with a letter or digit.",
        )
    if name.lower() in _RESERVED:
        raise InvalidName(f"The {kind} name {name!r} is reserved.", "Choose another name.")
    return name
