"""The real server as a subprocess of a real client."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from mcp import Client, StdioServerParameters

from kernel_exec.runtime import Runtime
from kernel_exec.settings import Settings
from tests.server.conftest import text_of

COMMAND = [sys.executable, "-m", "kernel_exec"]


@pytest.fixture
def variables(settings: Settings, runtime: Runtime) -> dict[str, str]:
    """The environment of a server on the data directory of the tests."""
    return {
        **os.environ,
        "KERNEL_EXEC_HOME": str(settings.home),
        "KERNEL_EXEC_WORKSPACE": str(settings.workspace),
    }


@asynccontextmanager
async def connected(variables: dict[str, str], era: str) -> AsyncIterator[Client]:
    """A client whose server is a subprocess."""
    server = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], env=variables)
    async with Client(server, mode=era) as client:  # type: ignore[arg-type]
        yield client


async def test_a_client_starts_the_server_and_runs_code(variables: dict[str, str], era: str) -> None:
    async with connected(variables, era) as client:
        result = await client.call_tool("execute_code", {"code": "1 + 1"})
        assert text_of(result).startswith("2\n")


async def test_what_kernels_write_never_reaches_the_protocol(variables: dict[str, str]) -> None:
    async with connected(variables, "auto") as client:
        code = (
            "import os, subprocess; os.write(1, b'raw\\n'); subprocess.run(['echo', 'child']); print('done')"
        )
        reply = text_of(await client.call_tool("execute_code", {"code": code}))
        assert {"raw", "child", "done"} <= set(reply.split())
        assert text_of(await client.call_tool("execute_code", {"code": "2"})).startswith("2")


@contextmanager
def raw_server(variables: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The server without an SDK on the other side."""
    process = subprocess.Popen(
        COMMAND,
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def send(process: subprocess.Popen[str], method: str, params: Any, number: int | None = None) -> None:
    message = {"jsonrpc": "2.0", "method": method, "params": params}
    if number is not None:
        message["id"] = number
    assert process.stdin is not None
    process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()


def receive(process: subprocess.Popen[str], number: int) -> Any:
    assert process.stdout is not None
    for line in process.stdout:
        message = json.loads(line)  # every line is a message: nothing else is ever written there
        if message.get("id") == number:
            return message["result"]
    raise AssertionError("the server ended")


def begin(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Shake hands, leave a grandchild in the kernel and a busy loop; returns all the processes."""
    hello = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "raw", "version": "1"},
    }
    send(process, "initialize", hello, 1)
    receive(process, 1)
    send(process, "notifications/initialized", {})
    code = "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)"
    send(process, "tools/call", {"name": "execute_code", "arguments": {"code": code}}, 2)
    receive(process, 2)
    busy = {"name": "execute_code", "arguments": {"code": "while True: pass", "wait_seconds": 0}}
    send(process, "tools/call", busy, 3)
    receive(process, 3)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    return children


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
@pytest.mark.parametrize("way", ["stdin ends", "SIGTERM", "SIGINT"])
async def test_the_server_leaves_nothing_behind(
    way: str, variables: dict[str, str], settings: Settings
) -> None:
    sockets = settings.home / "runtime"
    before = set(sockets.iterdir())
    with raw_server(variables) as process:
        children = await asyncio.to_thread(begin, process)
        if way == "stdin ends":
            assert process.stdin is not None
            process.stdin.close()
        else:
            process.send_signal(getattr(signal, way))
        assert await asyncio.to_thread(process.wait, 20) in (0, 128 + signal.SIGTERM, 128 + signal.SIGINT)
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert set(sockets.iterdir()) == before


async def test_a_bad_setting_stops_the_start_and_names_it(tmp_path: Path, variables: dict[str, str]) -> None:
    ended = await asyncio.to_thread(
        subprocess.run,
        COMMAND,
        env=variables | {"KERNEL_EXEC_TIMEOUT_SECONDS": "soon"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "timeout_seconds" in ended.stderr
    assert "soon" in ended.stderr
    assert "Traceback" not in ended.stderr
