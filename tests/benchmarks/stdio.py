"""A tool call through the real server and the SDK's client."""

import os
import sys

from mcp import Client, StdioServerParameters

from kernel_exec.runtime import Runtime
from tests.benchmarks.bare import bare_client, round_trip
from tests.benchmarks.row import Row, by_turns

ECHO = """
from mcp.server.mcpserver import MCPServer
server = MCPServer("echo")

@server.tool(structured_output=False)
async def echo(text: str) -> str:
    return text

server.run("stdio")
"""


async def rows(runtime: Runtime) -> list[Row]:
    variables = {
        **os.environ,
        "KERNEL_EXEC_HOME": str(runtime.settings.home),
        "KERNEL_EXEC_WORKSPACE": str(runtime.settings.workspace),
    }
    server = StdioServerParameters(command=sys.executable, args=["-m", "kernel_exec"], env=variables)
    echo = StdioServerParameters(command=sys.executable, args=["-c", ECHO], env=dict(os.environ))
    found = []
    for era in ("auto", "legacy"):
        async with (
            bare_client(runtime.settings) as kernel,
            Client(server, mode=era) as ours,  # type: ignore[arg-type]
            Client(echo, mode=era) as bare,  # type: ignore[arg-type]
        ):
            actions = (
                lambda ours=ours: ours.call_tool("execute_code", {"code": "1"}),
                lambda kernel=kernel: round_trip(kernel, "1"),
                lambda bare=bare: bare.call_tool("echo", {"text": "1"}),
            )
            await by_turns(20, *actions)
            value, kernel_floor, echo_floor = await by_turns(150, *actions)
        found.append(
            Row(
                f"execute_code over stdio, {era} (kernel + echo)", value, kernel_floor + echo_floor, limit=1.4
            )
        )
    return found
