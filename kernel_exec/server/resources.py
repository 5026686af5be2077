"""Resources: what a reply links to, whole."""

from typing import Any
from urllib.parse import unquote

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError

from kernel_exec.errors import KernelExecError
from kernel_exec.runtime import Runtime
from kernel_exec.server.calls import principal
from kernel_exec.server.content import output_resource

__all__ = ["add_resources"]


def add_resources(server: MCPServer[Runtime]) -> None:
    """Register the resources of this module."""

    @server.resource(
        "kernel-exec://executions/{execution}/outputs/{index}",
        name="output",
        description="One output of an execution, whole: text, an image, HTML, a chart's specification",
        mime_type="application/octet-stream",
    )
    async def output(execution: str, index: str, ctx: Context[Runtime, Any]) -> str | bytes:
        try:
            found = ctx.request_context.lifespan_context.sessions.execution(unquote(execution), principal())
            return output_resource(found.outputs[int(index)])[0]
        except (KernelExecError, IndexError, ValueError) as error:
            raise ResourceNotFoundError(f"There is no output {index} of execution {execution}.") from error
