"""Requirements that a file in the workspace lists: requirements.txt, pyproject.toml, or a notebook."""

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel_exec.environments.requirements import inside
from kernel_exec.errors import InvalidInput, InvalidRequirement

__all__ = ["Wanted", "read"]

_MAX_BYTES = 50_000_000
_MAX_DEPTH = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a file asks for: requirements, not yet checked, and the Pythons that will do (PEP 440)."""

    requirements: tuple[str, ...]
    python: str = ""


def read(place: str, workspace: Path) -> Wanted:
    """Read the file *place* in *workspace*.

    From `pyproject.toml` the project's dependencies are taken; from a notebook what `export_notebook`
    wrote into it, with the Python it ran on; anything else is read as a requirements file, in which
    `-r` leads to other files and every other option is refused.

    Raises: PathNotAllowed; InvalidInput and InvalidRequirement, naming the place.
    """
    path = inside(place, workspace)
    if not path.is_file() or path.stat().st_size > _MAX_BYTES:
        raise InvalidInput(f"{place!r} is not a file of at most {_MAX_BYTES // 1_000_000} MB.")
    try:
        if path.suffix == ".toml":
            return _of_project(tomllib.loads(path.read_text(encoding="utf-8")), place)
        if path.suffix == ".ipynb":
            return _of_notebook(json.loads(path.read_text(encoding="utf-8")), place)
        return Wanted(tuple(_lines(path, workspace, depth=0)))
    except (ValueError, AttributeError, TypeError) as error:  # not text, or of another shape
        raise InvalidInput(f"{place!r} cannot be read: {error}.", "Check its content.") from error


def _of_project(document: dict[str, Any], place: str) -> Wanted:
    project = document.get("project", {})
    if not isinstance(dependencies := project.get("dependencies"), list):
        raise InvalidInput(
            f"{place!r} has no list `dependencies` in its table [project].", "Give the packages instead."
        )
    return Wanted(tuple(map(str, dependencies)), str(project.get("requires-python", "")))


def _of_notebook(document: dict[str, Any], place: str) -> Wanted:
    told = document.get("metadata", {}).get("kernel_exec", {})
    if not isinstance(requirements := told.get("requirements"), list):
        raise InvalidInput(
            f"The notebook {place!r} does not tell which packages it was run with.",
            "Only notebooks written by export_notebook do; give the packages instead.",
        )
    minor = re.match(r"\d+\.\d+", str(told.get("python", "")))
    return Wanted(tuple(map(str, requirements)), f"=={minor[0]}.*" if minor else "")


def _lines(path: Path, workspace: Path, depth: int) -> list[str]:
    if depth > _MAX_DEPTH:
        raise InvalidInput(
            f"Requirements files lead to each other more than {_MAX_DEPTH} deep at {path.name!r}."
        )
    found = []
    text = path.read_text(encoding="utf-8-sig").replace("\\\n", " ")
    for number, line in enumerate(text.splitlines(), start=1):
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        if nested := re.fullmatch(r"(?:-r|--requirement)[\s=]*(\S+)", line):
            found += _lines(inside(str(path.parent / nested[1]), workspace), workspace, depth + 1)
        elif line.startswith("-") or " --" in line:
            raise InvalidRequirement(
                f"{path.name!r}, line {number}: installer options are not allowed.",
                "Take the option out of the file. Indexes are configured by the operator; hashes are not "
                "checked here.",
            )
        elif line.startswith("."):
            found.append(str(path.parent / line))  # a path in the file is relative to the file
        elif line:
            found.append(line)
    return found
