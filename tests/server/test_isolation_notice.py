"""The first reply of a kernel tells what its code cannot do, or that nothing keeps it from doing it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from mcp import Client

from kernel_exec.runtime import Runtime, open_runtime
from kernel_exec.server.app import create_server
from kernel_exec.settings import Settings
from tests.server.conftest import text_of


@asynccontextmanager
async def connected(settings: Settings, **how: object) -> AsyncIterator[Client]:
    """To a server that would isolate its code, but may use no sandbox."""
    changed = settings.model_copy(update={"isolation": "auto", "sandboxes": (), **how})
    async with open_runtime(changed) as own, Client(create_server(changed, runtime=own)) as client:
        yield client


async def test_the_first_reply_says_that_the_code_is_not_isolated(
    settings: Settings, runtime: Runtime
) -> None:
    async with connected(settings) as client:
        first, second = [
            text_of(await client.call_tool("execute_code", {"code": "print(1)"})) for _ in range(2)
        ]
        assert first.startswith("Not isolated (the setting sandboxes names none).\n\n1\n")
        assert second.startswith("1\n")
        assert "isolation of default" in text_of(await client.call_tool("health_check", {}))


@pytest.mark.parametrize("how", [{"isolation": "sandbox"}, {"network": "off"}])
async def test_health_tells_which_environments_start_no_kernel_for_lack_of_isolation(
    settings: Settings, runtime: Runtime, how: dict[str, str]
) -> None:
    async with connected(settings, **how) as client:
        refused = await client.call_tool("execute_code", {"code": "1"})
        assert refused.is_error
        health = text_of(await client.call_tool("health_check", {}))
    assert "PROBLEM: Environment 'default' starts no kernels: " in health
    assert text_of(refused).partition(".")[0] in health
