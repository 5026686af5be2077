"""A small world that hostile code may do its worst to: a home directory, a process, services, a session."""

import hashlib
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from kernel_exec.errors import IsolationUnavailable
from kernel_exec.runtime import Runtime, open_runtime
from kernel_exec.settings import load_settings
from tests.security.attempts import LEVELS

# Isolation needs Linux, and so do the modules that make it.
collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]

IMAGE = "localhost/kernel-exec-test"  # made by .ci/isolation
SETTINGS: dict[str, dict[str, Any]] = {
    "none": {"isolation": "none"},
    "landlock": {"isolation": "sandbox", "sandboxes": ("landlock",), "network": "off"},
    "bubblewrap": {"isolation": "sandbox", "sandboxes": ("bubblewrap",), "network": "off"},
    "container": {"isolation": "container", "container_image": IMAGE, "network": "off"},
}


@dataclass(frozen=True)
class World:
    """The host as code could harm it."""

    base: Path
    user: Path
    workspace: Path
    home: Path
    victim: subprocess.Popen[bytes]
    port: int
    abstract: str

    def fingerprint(self) -> dict[str, object]:
        """All of it that hostile code is after; equal before and after means that nothing happened."""
        files = {}
        trees = (self.user / ".ssh", self.user / "outside", self.home / "environments" / "default")
        for path in (path for tree in trees for path in sorted(tree.rglob("*"))):
            # Directories change when bytecode is cached, as the server does for a new environment.
            if "__pycache__" not in path.parts and not path.is_dir():
                status = path.lstat()
                files[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns)
        mounts = Path("/proc/self/mounts").read_bytes()
        return {
            "files": files,
            "links": (self.user / ".ssh" / "key").stat().st_nlink,
            "key": (self.user / ".ssh" / "key").read_text(),
            "around the workspace": sorted(path.name for path in self.user.iterdir()),
            "victim": psutil.Process(self.victim.pid).status() != psutil.STATUS_ZOMBIE,
            "mounts": hashlib.sha256(
                b"\n".join(line for line in mounts.splitlines() if b"containers" not in line)
            ).hexdigest(),
            "host name": socket.gethostname(),
        }


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Made anew for each module. Its paths are short, because paths of sockets must be."""
    with (
        tempfile.TemporaryDirectory(prefix="kx", ignore_cleanup_errors=True) as directory,
        socket.create_server(("127.0.0.1", 0)) as service,
        socket.socket(socket.AF_UNIX) as abstract,
        pytest.MonkeyPatch.context() as patch,
    ):
        base = Path(directory).resolve()
        user = base / "u"
        for path in (user / ".ssh", user / "outside", user / "work"):
            path.mkdir(parents=True)
        (user / ".ssh" / "key").write_text("a private key")
        abstract.bind(f"\0kx-{base.name}")
        abstract.listen()
        patch.setenv("HOME", str(user))
        patch.setenv("SECRET_API_KEY", "secret")
        victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(900)"])
        port = service.getsockname()[1]
        yield World(base, user, user / "work", user / ".kx", victim, port, f"kx-{base.name}")
        victim.kill()
        victim.wait()


@pytest_asyncio.fixture(scope="module")
async def environment(world: World) -> AsyncIterator[None]:
    """The default environment, made once for all levels."""
    async with open_runtime(load_settings(home=world.home, workspace=world.workspace)) as runtime:
        await runtime.environments.ensure("default")
        (world.home / "config.toml").write_text('log_level = "warning"\n')
        yield


@pytest.fixture(scope="module", params=LEVELS)
def level(request: pytest.FixtureRequest) -> str:
    """Each level; those that do not work on this machine are skipped with the reason."""
    return str(request.param)


@asynccontextmanager
async def open_level(world: World, level: str, **changes: Any) -> AsyncIterator[Runtime]:
    """A server at this level, which has a session `other` open besides; skips what does not work here."""
    settings = load_settings(home=world.home, workspace=world.workspace, **SETTINGS[level], **changes)
    async with open_runtime(settings) as runtime:
        try:
            other = await runtime.sessions.open("other")
        except IsolationUnavailable as error:
            pytest.skip(str(error))
        await other.execute("secret = 42")
        yield runtime


@pytest_asyncio.fixture(scope="module")
async def runtime(world: World, environment: None, level: str) -> AsyncIterator[Runtime]:
    """A server at this level, which has a session `other` open besides."""
    async with open_level(world, level) as runtime:
        yield runtime
