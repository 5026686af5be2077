"""Directory trees: copied as hard links, exchanged in one step, removed, measured."""

import ctypes
import errno
import os
import secrets
import shutil
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["beside", "exchange", "linked_copy", "remove", "size_bytes"]

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_RENAME_SWAP = 2


def beside(path: Path, role: str) -> Path:
    """A new hidden name in the same directory: `.<name>.<random>.<role>`."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.{role}")


def linked_copy(source: Path, target: Path) -> None:
    """Make *target* a copy of *source* whose files are hard links; *target* must not exist.

    Where the file system has no hard links the files are copied, with their times. Symbolic links
    stay as they are. A file that vanishes meanwhile is left out.
    """
    target.mkdir(mode=source.stat().st_mode & 0o777)
    with os.scandir(source) as entries:
        for entry in entries:
            copy = f"{target}{os.sep}{entry.name}"
            if entry.is_symlink():
                Path(copy).symlink_to(Path(entry.path).readlink())
            elif entry.is_dir():
                linked_copy(Path(entry.path), Path(copy))
            else:
                _link(entry.path, copy)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        pass
    except OSError:  # another file system, too many links, or one that has none
        shutil.copy2(source, target)


def exchange(new: Path, old: Path) -> None:
    """Put *new* where *old* is and the other way round: in one step where the system can, else in three.

    Running programs keep the files that they have open, and find the new ones by name.
    """
    if _exchanged(new, old):
        return
    aside = beside(old, "old")
    old.rename(aside)
    try:
        new.rename(old)
    except OSError:
        aside.rename(old)
        raise
    aside.rename(new)


def _exchanged(one: Path, other: Path) -> bool:
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "linux":
            paths = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other))
            failed = library.renameat2(*paths, _RENAME_EXCHANGE)
        elif sys.platform == "darwin":
            failed = library.renamex_np(os.fsencode(one), os.fsencode(other), _RENAME_SWAP)
        else:
            return False
    except (AttributeError, OSError, TypeError):  # a system without this call
        return False
    if failed and ctypes.get_errno() in (errno.ENOENT, errno.EACCES, errno.EPERM):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(one))
    return not failed


def remove(tree: Path) -> None:
    """Remove *tree*, as far as it goes: what cannot be removed now is a leftover for the next sweep."""
    with suppress(FileNotFoundError):
        shutil.rmtree(tree, ignore_errors=True)


def size_bytes(*trees: Path) -> int:
    """The disk blocks of all files below *trees*, each file once however often it is linked there.

    Files that are also linked from elsewhere (the installer's cache, a clone) are counted in full.
    """
    seen: set[tuple[int, int]] = set()
    total = 0
    pending = [str(tree) for tree in trees]
    while pending:
        with suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError:
                    continue  # removed meanwhile
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                if (key := (status.st_dev, status.st_ino)) not in seen:
                    seen.add(key)
                    total += getattr(status, "st_blocks", (status.st_size + 511) // 512) * 512
    return total
