"""What is installed in a venv, read from its site-packages without starting its Python."""

import json
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from kernel_exec.environments.environment import Package

__all__ = ["frozen", "import_names", "incomplete", "installed", "needed_by", "site_packages"]

_READ_AGAIN = 5


def site_packages(venv: Path) -> Path:
    """Where *venv* keeps its packages. It need not exist."""
    if sys.platform == "win32":
        return venv / "Lib" / "site-packages"
    return next(iter(sorted(venv.glob("lib/*/site-packages"))), venv / "lib" / "python" / "site-packages")


def installed(venv: Path) -> dict[str, Package]:
    """Every package in *venv* by its normalised name, in order of that name."""
    for _ in range(_READ_AGAIN):
        before = _identity(venv)
        found = {name: package for name, package, _ in _distributions(venv)}
        if _identity(venv) == before:  # else a writer exchanged the venv meanwhile
            break
    return dict(sorted(found.items()))


def frozen(venv: Path) -> str:
    """What is installed in *venv* as exact requirements, one a line, in order of name.

    What came from a place instead of the index is named by that place, as the installer recorded it.
    """
    lines = {name: _exact(package, distribution) for name, package, distribution in _distributions(venv)}
    return "".join(f"{lines[name]}\n" for name in sorted(lines))


def _exact(package: Package, distribution: Distribution) -> str:
    # https://packaging.python.org/specifications/direct-url-data-structure/
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "")
        url = str(origin["url"])
    except (ValueError, KeyError, TypeError):
        return f"{package.name}=={package.version}"
    if origin.get("dir_info", {}).get("editable"):
        return f"-e {url}"
    if version_control := origin.get("vcs_info"):
        url = f"{version_control['vcs']}+{url}@{version_control['commit_id']}"
    if directory := origin.get("subdirectory"):
        url += f"#subdirectory={directory}"
    return f"{package.name} @ {url}"


def needed_by(venv: Path, package: str, python: str) -> set[str]:
    """*package* and all that it needs in *venv*, directly or not, as normalised names.

    *python* is the venv's version, which markers are judged by. Extras are not followed.
    """
    found = {name: distribution for name, _, distribution in _distributions(venv)}
    marker_env = {
        "extra": "",
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
    }
    needed: set[str] = set()
    pending = [canonicalize_name(package)]
    while pending:
        name = pending.pop()
        if name in needed or name not in found:
            continue
        needed.add(name)
        for text in found[name].requires or ():
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            if requirement.marker is None or requirement.marker.evaluate(marker_env):
                pending.append(canonicalize_name(requirement.name))
    return needed


def import_names(venv: Path) -> dict[str, frozenset[str]]:
    """What each package in *venv*, by its normalised name, is imported as: its top-level modules."""
    found = {}
    for name, _, distribution in _distributions(venv):
        tops = {file.parts[0] for file in distribution.files or () if file.suffix in (".py", ".so", ".pyd")}
        found[name] = frozenset(top.partition(".")[0] for top in tops)
    return found


def incomplete(venv: Path) -> list[str]:
    """The packages in *venv* of which files are missing, as an installer killed half-way leaves them.

    Looks at each file that a package lists (not at cached bytecode), so it takes a moment.
    """
    return [
        name
        for name, _, distribution in _distributions(venv)
        if any(
            file.suffix != ".pyc" and not Path(str(distribution.locate_file(file))).exists()
            for file in distribution.files or ()
        )
    ]


def _distributions(venv: Path) -> Iterator[tuple[str, Package, Distribution]]:
    for distribution in distributions(path=[str(site_packages(venv))]):
        metadata = distribution.metadata
        if "Name" in metadata and "Version" in metadata:  # else a writer is at work, or was killed
            package = Package(metadata["Name"], metadata["Version"])
            yield canonicalize_name(package.name), package, distribution


def _identity(venv: Path) -> tuple[int, int] | None:
    try:
        status = site_packages(venv).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
