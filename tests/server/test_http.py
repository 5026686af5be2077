"""The real server over HTTP on loopback."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx2
import psutil
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from kernel_exec.errors import SettingsError
from kernel_exec.runtime import Runtime
from kernel_exec.server.http import serve_http
from kernel_exec.settings import Settings
from tests.server.conftest import text_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="ends the server by a signal")


class Served:
    """A server process and how to reach it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        self.process = process
        self.url = process.stderr.readline().split()[-1]
        self.token = process.stderr.readline().split()[-1]

    @asynccontextmanager
    async def connected(self, era: str = "auto") -> AsyncIterator[Client]:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            Client(streamable_http_client(self.url, http_client=http), mode=era) as client,  # type: ignore[arg-type]
        ):
            yield client

    async def post(self, **headers: str | bytes) -> int:
        """The status of a request with these headers, by a client that is no MCP client."""
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        accept = {"Accept": "application/json, text/event-stream"}
        async with httpx2.AsyncClient() as http:
            reply = await http.post(self.url, json=body, headers={**accept, **headers})  # type: ignore[arg-type]
            return reply.status_code


@pytest.fixture(scope="module")
def served(settings: Settings, runtime: Runtime) -> Iterator[Served]:
    """One server for the tests of this module."""
    variables = {**os.environ, "KERNEL_EXEC_HOME": str(settings.home)}
    command = [sys.executable, "-m", "kernel_exec", "serve", "--transport", "http", "--port", "0"]
    process = subprocess.Popen(
        command,
        env=variables,
        cwd=settings.workspace,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    try:
        yield Served(process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


async def test_a_client_with_the_token_runs_code(served: Served, era: str) -> None:
    async with served.connected(era) as client:
        result = await client.call_tool("execute_code", {"code": "6 * 7", "session": f"http-{era}"})
        assert text_of(result).startswith("42\n")


async def test_two_clients_on_different_sessions_do_not_cross(served: Served) -> None:
    async def work(name: str) -> None:
        async with served.connected() as client:
            for number in range(20):
                arguments = {"code": f"x = '{name}', {number}; x", "session": name}
                assert text_of(await client.call_tool("execute_code", arguments)).startswith(
                    f"('{name}', {number})"
                )

    await asyncio.gather(work("one"), work("two"))


async def test_a_cancelled_call_interrupts_the_code(served: Served, era: str) -> None:
    session = f"cancel-{era}"
    async with served.connected(era) as client:
        await client.call_tool("execute_code", {"code": "x = 7", "session": session})
        running = asyncio.Event()

        async def on_progress(*_: object) -> None:
            running.set()

        code = "import time\nwhile True: time.sleep(0.1)"
        call = asyncio.create_task(
            client.call_tool(
                "execute_code", {"code": code, "session": session}, progress_callback=on_progress
            )
        )
        async with asyncio.timeout(20):
            await running.wait()
            call.cancel()
            result = await client.call_tool("execute_code", {"code": "x", "session": session})
        assert text_of(result).startswith("7\n")


async def test_a_request_without_the_token_is_refused(served: Served) -> None:
    assert await served.post() == 401
    assert await served.post(Authorization="Bearer wrong") == 401
    assert await served.post(Authorization="Bearer ünïcode".encode()) == 401


async def test_a_page_of_another_site_is_refused(served: Served) -> None:
    authorization = f"Bearer {served.token}"
    assert await served.post(Authorization=authorization, Origin="http://evil.example") == 403
    assert await served.post(Authorization=authorization, Host="evil.example") == 421


def test_the_token_is_long_and_random(served: Served) -> None:
    assert re.fullmatch(r"[\w-]{43}", served.token)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", "::"])
def test_an_address_beyond_loopback_needs_a_token_of_the_operators(settings: Settings, host: str) -> None:
    with pytest.raises(SettingsError, match="without a token"):
        serve_http(settings.model_copy(update={"host": host}))


def test_a_port_that_is_taken_is_named(served: Served, settings: Settings) -> None:
    port = int(served.url.split(":")[2].split("/")[0])
    with pytest.raises(SettingsError, match=str(port)):
        serve_http(settings.model_copy(update={"port": port}))


async def test_a_signal_ends_a_server_with_a_call_under_way(settings: Settings, runtime: Runtime) -> None:
    variables = {**os.environ, "KERNEL_EXEC_HOME": str(settings.home)}
    command = [sys.executable, "-m", "kernel_exec", "serve", "--transport", "http", "--port", "0"]
    with subprocess.Popen(
        command,
        env=variables,
        cwd=settings.workspace,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    ) as process:
        served = await asyncio.to_thread(Served, process)
        async with httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {served.token}"}, timeout=60
        ) as http:
            call = {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "tools/call",
                "params": {"name": "execute_code", "arguments": {"code": "while True: pass"}},
            }
            accept = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}
            calling = asyncio.create_task(http.post(served.url, json=call, headers=accept))
            async with asyncio.timeout(20):
                while (
                    not (children := psutil.Process(process.pid).children(recursive=True))
                    and not calling.done()
                ):
                    await asyncio.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            _, errors = await asyncio.to_thread(process.communicate, None, 20)
            await asyncio.wait({calling})
            calling.exception()
        assert process.returncode == 128 + signal.SIGTERM
        assert "Traceback" not in errors
        assert not [child for child in children if child.is_running()]
