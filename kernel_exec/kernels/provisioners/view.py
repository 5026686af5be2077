"""What sandboxed code may see of the machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kernel_exec.settings import Network

__all__ = ["ETC", "LINKS", "View", "hidden_paths", "python_paths", "system_paths"]

# Of /etc only what programs need in order to run; none of it is secret.
IN_ETC = """
    alternatives ca-certificates crypto-policies fonts group host.conf hosts ld.so.cache ld.so.conf
    ld.so.conf.d localtime mime.types nsswitch.conf os-release passwd pki/ca-trust/extracted
    pki/tls/cert.pem pki/tls/certs protocols resolv.conf services ssl/certs ssl/openssl.cnf timezone
"""
ETC = [Path("/etc", name) for name in IN_ETC.split()]
SYSTEM = [Path("/usr"), Path("/nix/store"), Path("/gnu/store")]
LINKS = [Path("/bin"), Path("/sbin"), Path("/lib"), Path("/lib32"), Path("/lib64"), Path("/libx32")]


@dataclass(frozen=True, slots=True)
class View:
    """*runtime_directory* is the kernel's own: its sockets and its connection file. *hidden* paths lie
    inside writable or readable ones and are not seen.
    """

    runtime_directory: Path
    working_directory: Path
    writable: tuple[Path, ...]
    readable: tuple[Path, ...]
    hidden: tuple[Path, ...] = ()
    network: Network = "on"


def system_paths() -> list[Path]:
    """The directories that hold the system's programs and libraries, as far as there are any."""
    return [path for path in SYSTEM if path.is_dir()]


def python_paths(executable: Path) -> list[Path]:
    """What the interpreter *executable* needs besides the system: its venv, and the installation that
    the venv was made from; each as it is named and as it is after its links.
    """
    prefixes = [executable.parent.parent, executable.resolve().parent.parent]
    configuration = prefixes[0] / "pyvenv.cfg"
    if configuration.is_file():
        for line in configuration.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "home":
                prefixes.append(Path(value.strip()).parent)
    named = [prefix for one in prefixes for prefix in (one, one.resolve())]
    return [path for path in dict.fromkeys(named) if not _covered(path)]


def hidden_paths(data: Path, shown: Sequence[Path]) -> list[Path]:
    """What must not be seen although it lies in what is *shown*: the server's own *data* and, when the
    whole home directory is shown, what is hidden there: keys, tokens, configuration.
    """
    home = Path.home()
    hidden = [data] if _inside(data, shown) else []
    if _inside(home, shown):
        hidden += sorted(path for path in home.glob(".*") if not path.is_symlink() and path != data)
    return hidden


def _inside(path: Path, directories: Sequence[Path]) -> bool:
    return any(path.resolve().is_relative_to(directory) for directory in directories)


def _covered(path: Path) -> bool:
    """Whether the system's directories hold it. The root itself, the parent of /bin, is never meant."""
    return path == Path("/") or any(path.is_relative_to(system) for system in SYSTEM)
