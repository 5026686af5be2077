"""A session as one file that can go to another machine: notebook, exact packages, the files it wrote."""

import json
import os
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kernel_exec.errors import InvalidInput, PathNotAllowed
from kernel_exec.workspace import file_to_write

__all__ = ["Archive", "Written", "files_since", "read_archive", "restore_files", "write_archive"]

NOTEBOOK = "notebook.ipynb"
REQUIREMENTS = "requirements.txt"
MANIFEST = "manifest.json"
FILES = "files"
FORMAT = 1
LARGEST_FILE_BYTES = 64 << 20
LARGEST_TOTAL_BYTES = 256 << 20
MOST_FILES = 1_000
# Directories whose content can be made anew.
SKIPPED = {".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", ".ipynb_checkpoints", ".tox"}


@dataclass(frozen=True, slots=True)
class Written:
    """What went into an archive: *files*, relative to the workspace, and those *left_out*, with why."""

    files: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Archive:
    """What an archive says: the notebook's text, the environment's name, its Python version and exact
    requirements, and the names of the files that it carries, relative to the workspace.
    """

    path: Path
    notebook: str
    environment: str
    python: str
    requirements: tuple[str, ...]
    files: tuple[str, ...]


def files_since(workspace: Path, since: float, leave_out: Iterable[Path] = ()) -> Iterator[Path]:
    """The regular files in *workspace* that were changed after *since* (seconds since the epoch).

    Links are not followed and not given; neither are hidden and generated directories.
    """
    ignored = {path.resolve() for path in leave_out}
    for directory, names, files in os.walk(workspace):
        names[:] = sorted(name for name in names if name not in SKIPPED and not name.startswith("."))
        for name in sorted(files):
            path = Path(directory, name)
            regular = not path.is_symlink() and path.is_file()
            if regular and path.stat().st_mtime >= since and path.resolve() not in ignored:
                yield path


def write_archive(
    target: Path, notebook: str, *, python: str, requirements: str, workspace: Path, files: Iterable[Path]
) -> Written:
    """Write the archive whole, or not at all.

    At most 1,000 files, 64 MiB each and 256 MiB together; what is more is left out and said.
    """
    taken: list[str] = []
    left_out: list[str] = []
    total = 0
    temporary = target.with_name(f".{target.name}.part")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(NOTEBOOK, notebook)
            archive.writestr(REQUIREMENTS, requirements)
            for path in files:
                name = path.relative_to(workspace).as_posix()
                size = path.stat().st_size
                if (
                    size > LARGEST_FILE_BYTES
                    or total + size > LARGEST_TOTAL_BYTES
                    or len(taken) >= MOST_FILES
                ):
                    left_out.append(f"{name} ({size:,} bytes)")
                    continue
                archive.write(path, f"{FILES}/{name}")
                taken.append(name)
                total += size
            manifest = {"format": FORMAT, "python": python, "files": taken, "left_out": left_out}
            archive.writestr(MANIFEST, json.dumps(manifest, indent=1))
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return Written(tuple(taken), tuple(left_out))


def read_archive(path: Path) -> Archive:
    """What is in the archive, without unpacking it.

    Raises: InvalidInput: not an archive of ours, damaged, or larger than one can be.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = [info.file_size for info in archive.infolist()]
            if sum(sizes) > 2 * LARGEST_TOTAL_BYTES or len(sizes) > MOST_FILES + 10:
                raise InvalidInput(
                    f"{path.name!r} unpacks to {sum(sizes):,} bytes, too many.", "Check the file."
                )
            manifest: Any = json.loads(archive.read(MANIFEST))
            notebook = archive.read(NOTEBOOK).decode()
            return Archive(
                path,
                notebook,
                str(json.loads(notebook)["metadata"]["kernelspec"]["name"]),
                str(manifest["python"]),
                tuple(archive.read(REQUIREMENTS).decode().splitlines()),
                tuple(str(name) for name in manifest["files"]),
            )
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise InvalidInput(
            f"{path.name!r} is no archive of a session: {error}.",
            "Make one with export_notebook(archive=true).",
        ) from error


def restore_files(archive: Archive, workspace: Path) -> list[str]:
    """Unpack the files into the workspace; one that is there already stays as it is. Returns those written.

    Raises: PathNotAllowed: a name leads out of the workspace.
    """
    restored = []
    with zipfile.ZipFile(archive.path) as packed:
        for name in archive.files:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise PathNotAllowed(
                    f"The archive has a file {name!r} outside the workspace.", "Do not use it."
                )
            parent = workspace / PurePosixPath(name).parent
            if not parent.resolve().is_relative_to(workspace):
                raise PathNotAllowed(
                    f"{name!r} leads out of the workspace through a link.", "Remove the link."
                )
            parent.mkdir(parents=True, exist_ok=True)
            target = file_to_write(name, workspace)
            if not target.exists():
                target.write_bytes(packed.read(f"{FILES}/{name}"))
                restored.append(name)
    return restored
