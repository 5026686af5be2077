"""Resources: what replies link to, whole; a session as a notebook; an environment as requirements."""

import asyncio
from typing import Any
from urllib.parse import unquote

from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError

from kernel_exec.errors import KernelExecError
from kernel_exec.runtime import Runtime
from kernel_exec.server.calls import principal
from kernel_exec.server.content import output_resource
from kernel_exec.sessions.execution import Execution
from kernel_exec.sessions.notebook import render, session_notebook
from kernel_exec.sessions.outputs import Stream

__all__ = ["add_resources", "read_output"]

OUTPUT = "kernel-exec://executions/{execution}/outputs/{index}"
# One message carries a resource; past this, get_execution reads it in pieces.
LARGEST_STREAM_BYTES = 32 << 20

RuntimeContext = Context[Runtime, Any]


def add_resources(server: MCPServer[Runtime]) -> None:
    """Register the resources of this module."""

    @server.resource(
        OUTPUT,
        name="output",
        description="One output of an execution, whole: text, an image, HTML, a chart's specification",
    )
    async def output(execution: str, index: str, ctx: RuntimeContext) -> str | bytes:
        return (await read_output(_runtime(ctx), execution, index)).content

    @server.resource(
        "kernel-exec://sessions/{session}/notebook",
        name="notebook",
        description="A session's history as a Jupyter notebook",
        mime_type="application/x-ipynb+json",
    )
    async def notebook(session: str, ctx: RuntimeContext) -> str:
        try:
            record = _runtime(ctx).sessions.record(unquote(session), principal())
        except KernelExecError as error:
            raise ResourceNotFoundError(str(error)) from error
        found = await session_notebook(_runtime(ctx).history, record)
        return await asyncio.to_thread(render, found, "ipynb")

    @server.resource(
        "kernel-exec://environments/{environment}/requirements",
        name="requirements",
        description="What is installed in an environment, as lines for a requirements file",
        mime_type="text/plain",
    )
    async def requirements(environment: str, ctx: RuntimeContext) -> str:
        try:
            return await _runtime(ctx).environments.export(unquote(environment))
        except KernelExecError as error:
            raise ResourceNotFoundError(str(error)) from error


async def read_output(owner: Runtime, execution: str, index: str) -> ReadResourceContents:
    """One output with its own MIME type.

    Raises: ResourceNotFoundError; ResourceError when it is too large for one message.
    """
    try:
        found = owner.sessions.execution(unquote(execution), principal())
        output = found.outputs[int(index)]
    except (KernelExecError, IndexError, ValueError) as error:
        raise ResourceNotFoundError(f"There is no output {index} of execution {execution}.") from error
    if isinstance(output, Stream) and output.content.size_bytes > LARGEST_STREAM_BYTES:
        raise ResourceError(_too_large(found, output))
    content, mime_type = await asyncio.to_thread(output_resource, output)
    return ReadResourceContents(content=content, mime_type=mime_type)


def _too_large(execution: Execution, output: Stream) -> str:
    return (
        f"This output has {output.content.size_bytes:,} bytes, too many for one message; read it in pieces "
        f"with get_execution({execution.id!r}, offset=…, max_chars=…)."
    )


def _runtime(ctx: RuntimeContext) -> Runtime:
    return ctx.request_context.lifespan_context
