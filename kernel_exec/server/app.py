"""The MCP server: tools, prompts and resources on one runtime."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp.server import CacheHint
from mcp.server.mcpserver import MCPServer

import kernel_exec
from kernel_exec.runtime import Runtime, open_runtime
from kernel_exec.server.boundary import KernelExecServer
from kernel_exec.server.environment_tools import add_environment_tools
from kernel_exec.server.execution_tools import add_execution_tools
from kernel_exec.server.notebook_tools import add_notebook_tools
from kernel_exec.server.prompts import add_prompts
from kernel_exec.server.resources import add_resources
from kernel_exec.server.session_tools import add_session_tools
from kernel_exec.server.status_tools import add_status_tools
from kernel_exec.settings import Settings

__all__ = ["create_server"]

INSTRUCTIONS = """\
Runs Python in persistent Jupyter kernels. execute_code(code="1+1") needs nothing before it: the session \
"main" and the default environment make themselves. Variables live on from call to call; use one session \
per task, and name it to work on several at once. A call answers after at most wait_seconds with status \
"running"; get_execution(execution, wait_seconds=50) waits for the rest. Install packages with \
install_packages, and make an environment of its own for a project with conflicting needs. The session \
leaves as a notebook with export_notebook."""
TOOLS_TTL_MILLISECONDS = 3_600_000


def create_server(settings: Settings, *, runtime: Runtime | None = None, **options: Any) -> KernelExecServer:
    """The server; it opens a runtime for its life, or uses *runtime*, which somebody else owns.

    *options* go to `MCPServer`.
    """

    @asynccontextmanager
    async def lifespan(_: MCPServer[Runtime]) -> AsyncIterator[Runtime]:
        if runtime is not None:
            yield runtime
            return
        async with open_runtime(settings) as opened:
            yield opened

    server = KernelExecServer(
        "kernel_exec",
        version=kernel_exec.__version__,
        instructions=INSTRUCTIONS,
        lifespan=lifespan,
        log_level=settings.log_level.upper(),
        cache_hints={"tools/list": CacheHint(ttl_ms=TOOLS_TTL_MILLISECONDS, scope="public")},
        **options,
    )
    add_execution_tools(server)
    add_notebook_tools(server)
    add_session_tools(server)
    add_environment_tools(server)
    add_status_tools(server)
    add_prompts(server)
    add_resources(server)
    return server
