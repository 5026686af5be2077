"""Requirements from outside: PEP 508, as far as the settings allow. Options never get through."""

import re
import tomllib
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from packaging.requirements import InvalidRequirement as PackagingInvalidRequirement
from packaging.requirements import Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

from kernel_exec.environments.redaction import without_urls
from kernel_exec.errors import InvalidRequirement, PathNotAllowed
from kernel_exec.settings import Settings

__all__ = ["Policy", "Requested", "inside", "merge", "name_of", "names_only", "parse_name"]

_MAX_CHARS = 2_000
_ARCHIVES = (".whl", ".tar.gz", ".zip")
_HINT = "Give one PEP 508 requirement per entry, such as 'pandas', 'pandas>=2,<3' or 'httpx[http2]==0.27.*'."


@dataclass(frozen=True, slots=True)
class Requested:
    """One accepted requirement: *text* is what the installer gets, *name* is normalised.

    The text begins with the name; a path in the workspace becomes `name @ file:///...`.
    """

    text: str
    name: str


class Policy:
    """What the settings let be installed: from where, and which names."""

    def __init__(self, settings: Settings) -> None:
        self._workspace = settings.workspace
        self._sources: Collection[str] = settings.requirement_sources
        self._allowed = set(map(canonicalize_name, settings.allowed_packages))
        self._denied = set(map(canonicalize_name, settings.denied_packages))

    def parse_all(self, texts: Iterable[str]) -> list[Requested]:
        """Accept each of *texts*, in order. A single string is refused: it would be taken by the letter."""
        if isinstance(texts, str):
            raise InvalidRequirement("Requirements must be a list of strings, not one string.", _HINT)
        return [self.parse(text) for text in texts]

    def parse(self, text: str) -> Requested:
        """Accept one requirement.

        Raises: InvalidRequirement, naming it; PathNotAllowed for a path outside the workspace.
        """
        text = _plain(text)
        if _looks_like_path(text):
            self._check_source("path", text)
            place, bracket, extras = text.partition("[")
            path = inside(place, self._workspace)
            text = f"{_name_in(path)}{bracket}{extras} @ {path.as_uri()}"
        try:
            requirement = Requirement(text)
        except PackagingInvalidRequirement as error:
            reason = without_urls(str(error).splitlines()[0].rstrip(".:"))
            raise InvalidRequirement(
                f"{without_urls(text)!r} is not a requirement: {reason}.", _HINT
            ) from error
        name = canonicalize_name(requirement.name)
        self._check_name(name)
        if requirement.url is not None:
            self._check_url(urlsplit(requirement.url), requirement.name)
        return Requested(str(requirement), name)

    def check_installed(self, names: Iterable[str]) -> None:
        """Refuse what the installer chose by itself, of the normalised *names*.

        Raises: InvalidRequirement.
        """
        for name in names:
            if name in self._denied:
                raise InvalidRequirement(
                    f"The package {name!r}, which is needed by what was asked for, is not allowed here.",
                    "It is on the list in the setting denied_packages. Nothing was changed.",
                )

    def _check_name(self, name: str) -> None:
        if name in self._denied:
            hint = "It is on the list in the setting denied_packages."
        elif self._allowed and name not in self._allowed:
            hint = f"The setting allowed_packages has: {', '.join(sorted(self._allowed))}."
        else:
            return
        raise InvalidRequirement(f"The package {name!r} is not allowed here.", hint)

    def _check_url(self, url: SplitResult, name: str) -> None:
        if url.scheme == "file" and url.netloc in ("", "localhost"):
            self._check_source("path", name)
            inside(unquote(url.path), self._workspace)
            return
        is_vcs = "+" in url.scheme
        self._check_source("vcs" if is_vcs else "url", name)
        if url.scheme not in ("https", "http") and not is_vcs:
            raise InvalidRequirement(f"The requirement for {name!r} has the unknown scheme {url.scheme!r}.")
        if url.password or (url.username and not url.scheme.endswith("ssh")):
            raise InvalidRequirement(
                f"The requirement for {name!r} contains credentials.",
                "Leave them out; the operator gives them to the installer (netrc, keyring or git).",
            )

    def _check_source(self, source: str, requirement: str) -> None:
        if source not in self._sources:
            raise InvalidRequirement(
                f"The requirement {requirement!r} names a {source}, which is not allowed.",
                f"The setting requirement_sources has: {', '.join(self._sources) or 'none'}. Name a version "
                "from the package index instead.",
            )


def parse_name(text: str) -> str:
    """A bare package name, normalised.

    Raises: InvalidRequirement for anything more than a name.
    """
    text = _plain(text)
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", text):
        raise InvalidRequirement(
            f"{text!r} is not a package name.", "Give names without versions, extras or options."
        )
    return canonicalize_name(text)


def merge(earlier: Iterable[str], new: Iterable[Requested]) -> tuple[str, ...]:
    """What is asked for in all: *new* takes the place of what was asked *earlier* under the same name."""
    new = list(new)
    names = {one.name for one in new}
    kept = [text for text in earlier if name_of(text) not in names]
    return (*kept, *dict.fromkeys(one.text for one in new))


def names_only(texts: Iterable[str]) -> tuple[str, ...]:
    """Those of the accepted *texts* that name a version; what lies in a place is left out."""
    return tuple(text for text in texts if Requirement(text).url is None)


def name_of(text: str) -> str:
    """The normalised name in a requirement that was accepted before."""
    return canonicalize_name(Requirement(text).name)


def inside(place: str, workspace: Path) -> Path:
    """The existing file or directory *place*, relative to *workspace* or absolute, with links followed.

    Raises: PathNotAllowed, also when a link leads out of the workspace.
    """
    path = (workspace / place).resolve()
    if not path.is_relative_to(workspace.resolve()):
        raise PathNotAllowed(
            f"{place!r} is outside the workspace {workspace}.",
            "Use a path inside it, or set KERNEL_EXEC_WORKSPACE (setting `workspace`) to a directory that "
            "holds it.",
        )
    if not path.exists():
        raise PathNotAllowed(f"There is no {place!r} in the workspace {workspace}.", "Check the path.")
    return path


def _name_in(path: Path) -> str:
    """The name of the package that a wheel, a source archive or a project's directory holds."""
    try:
        if path.suffix == ".whl":
            return parse_wheel_filename(path.name)[0]
        if path.is_file():
            return parse_sdist_filename(path.name)[0]
        project = tomllib.loads((path / "pyproject.toml").read_text(encoding="utf-8"))
        return canonicalize_name(project["project"]["name"])
    except (InvalidWheelFilename, InvalidSdistFilename, OSError, ValueError, LookupError, TypeError) as error:
        raise InvalidRequirement(
            f"{path.name!r} does not tell the name of its package.",
            f"Give it with the name: 'name @ {path.as_uri()}'.",
        ) from error


def _plain(text: str) -> str:
    shown = repr(without_urls(text[:200]))
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text):
        raise InvalidRequirement(f"{shown} contains control characters.", _HINT)
    text = text.strip()
    if not text:
        raise InvalidRequirement("A requirement is empty.", _HINT)
    if len(text) > _MAX_CHARS:
        raise InvalidRequirement(f"{shown}... is longer than {_MAX_CHARS} characters.", _HINT)
    if text.startswith("-"):
        raise InvalidRequirement(f"{shown} is an installer option, which is not allowed.", _HINT)
    return text


def _looks_like_path(text: str) -> bool:
    if "://" in text or re.match(r"[A-Za-z0-9._-]+\s*(\[[^\]]*\])?\s*@", text):
        return False  # `name @ place`, as PEP 508 has it
    head = re.split(r"[\s;\[<>=!~]", text, maxsplit=1)[0]
    return head.startswith((".", "/")) or "/" in head or "\\" in head or head.lower().endswith(_ARCHIVES)
