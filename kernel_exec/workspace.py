"""Paths that come from outside, held inside the workspace."""

from pathlib import Path

from kernel_exec.errors import PathNotAllowed

__all__ = ["file_to_read", "file_to_write"]


def file_to_read(path: str, workspace: Path) -> Path:
    """The existing file *path*, relative to *workspace* or absolute, with links followed.

    Raises: PathNotAllowed, also when a link leads out of the workspace.
    """
    resolved = _inside(path, workspace)
    if not resolved.is_file():
        raise PathNotAllowed(f"There is no file {path!r} in the workspace {workspace}.", "Check the path.")
    return resolved


def file_to_write(path: str, workspace: Path) -> Path:
    """The path of a file that may be created or replaced; its directory must exist.

    Raises: PathNotAllowed.
    """
    resolved = _inside(path, workspace)
    if resolved.is_dir():
        raise PathNotAllowed(f"{path!r} is a directory.", "Name a file.")
    if not resolved.parent.is_dir():
        raise PathNotAllowed(f"There is no directory {str(resolved.parent)!r}.", "Create it first.")
    return resolved


def _inside(path: str, workspace: Path) -> Path:
    try:
        resolved = (workspace / Path(path).expanduser()).resolve()
        resolved.exists()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, no home, a NUL byte, too long
        raise PathNotAllowed(f"{path[:80]!r} is not a usable path.", "Check the path.") from error
    if not resolved.is_relative_to(workspace):
        raise PathNotAllowed(
            f"{path!r} is outside the workspace {workspace}.",
            "Use a path inside it, or set KERNEL_EXEC_WORKSPACE (setting `workspace`) to a directory "
            "that holds it.",
        )
    return resolved
