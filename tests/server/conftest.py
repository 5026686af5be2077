"""A client of the server, in memory, in each protocol era."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any

import pytest
from mcp import Client
from mcp.types import CallToolResult

from kernel_exec.runtime import Runtime
from kernel_exec.server.app import create_server
from kernel_exec.settings import Settings

Connect = Callable[..., AbstractAsyncContextManager["Caller"]]
_names = count(1)


class Caller:
    """A client with one session of its own, whose calls give the reply's text."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.session = f"s{next(_names)}"

    async def result(self, tool: str, **arguments: Any) -> CallToolResult:
        """The whole result."""
        return await self.client.call_tool(tool, arguments)

    async def call(self, tool: str, **arguments: Any) -> str:
        """The text of a result that is no error."""
        result = await self.result(tool, **arguments)
        assert not result.is_error, text_of(result)
        return text_of(result)

    async def refused(self, tool: str, **arguments: Any) -> str:
        """The text of a result that is an error."""
        result = await self.result(tool, **arguments)
        assert result.is_error, text_of(result)
        return text_of(result)

    async def run(self, code: str, **arguments: Any) -> str:
        """The output of code in this caller's session, without the status line."""
        return (await self.call("execute_code", code=code, session=self.session, **arguments)).rpartition(
            "\n\n"
        )[0]


def text_of(result: CallToolResult) -> str:
    """All text of a result."""
    return "\n".join(block.text for block in result.content if block.type == "text")


def execution_of(text: str) -> str:
    """The execution that a status line names."""
    return text.rpartition("execution ")[2].split()[0]


@pytest.fixture(params=["auto", pytest.param("legacy", marks=pytest.mark.slow)])
def era(request: pytest.FixtureRequest) -> Iterator[str]:
    """The newest protocol, and the one with a handshake."""
    yield request.param


@pytest.fixture
def connect(runtime: Runtime, settings: Settings, era: str) -> Connect:
    """Connects a client in memory. A factory: a client must be left in the task that entered it."""

    @asynccontextmanager
    async def connect(**options: Any) -> AsyncIterator[Caller]:
        async with Client(create_server(settings, runtime=runtime), mode=era, **options) as client:
            caller = Caller(client)
            try:
                yield caller
            finally:
                if runtime.sessions.is_open(caller.session):
                    await runtime.sessions.close(caller.session)

    return connect
