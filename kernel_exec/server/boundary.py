"""The one boundary between our errors and the protocol's."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from mcp import MCPError
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import INVALID_PARAMS, CallToolResult, GetPromptResult, InputRequiredResult, TextContent
from pydantic import AnyUrl, ValidationError

from kernel_exec.errors import KernelExecError
from kernel_exec.runtime import Runtime
from kernel_exec.server.resources import read_output

__all__ = ["KernelExecServer"]

OUTPUT_URI = re.compile(r"kernel-exec://executions/([^/]+)/outputs/([^/]+)")

log = structlog.get_logger(__name__)


class KernelExecServer(MCPServer[Runtime]):
    """An MCP server whose tools refuse unknown arguments and whose errors say what to do next."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._argument_names: dict[str, list[str]] = {}

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Runtime, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool; what it raises comes back as a result with `isError`.

        Errors of ours and bad arguments keep their text. A crash is logged, and its text stays here.
        """
        known = await self._arguments_of(name)
        if known is None:
            return _error(f"There is no tool {name!r}. Tools: {', '.join(self._argument_names)}.")
        if unknown := sorted(set(arguments) - set(known)):
            return _error(
                f"{name} has no argument {', '.join(map(repr, unknown))}. "
                f"Its arguments: {', '.join(known) or 'none'}."
            )
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            match error.__cause__:
                case KernelExecError() as cause:
                    log.info("tool refused", tool=name, error=type(cause).__name__)
                    return _error(str(cause))
                case ValidationError() as cause:
                    return _error(_bad_arguments(name, cause))
                case _:
                    raise

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[Runtime, Any] | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        """Read a resource; an output has its own MIME type, where a template can have but one for all."""
        match = OUTPUT_URI.fullmatch(str(uri))
        if match is None or context is None:
            return await super().read_resource(uri, context)
        return [await read_output(context.request_context.lifespan_context, *match.groups())]

    async def get_prompt(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        context: Context[Runtime, Any] | None = None,
    ) -> GetPromptResult | InputRequiredResult:
        """Render a prompt; an unknown one is an error of the protocol that names the known ones."""
        known = {prompt.name for prompt in await self.list_prompts()}
        if name not in known:
            raise MCPError(
                INVALID_PARAMS, f"There is no prompt {name!r}; prompts: {', '.join(sorted(known))}."
            )
        return await super().get_prompt(name, arguments, context)

    async def _arguments_of(self, name: str) -> list[str] | None:
        if not self._argument_names:
            tools = await self.list_tools()
            self._argument_names = {tool.name: list(_properties(tool.input_schema)) for tool in tools}
        return self._argument_names.get(name)


def _properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    properties: Mapping[str, Any] = schema.get("properties", {})
    return properties


def _bad_arguments(name: str, error: ValidationError) -> str:
    problems = []
    for problem in error.errors(include_url=False, include_context=False):
        argument = ".".join(str(part) for part in problem["loc"])
        given = "" if problem["type"] == "missing" else f" (given: {repr(problem['input'])[:100]})"
        problems.append(f"{argument}: {problem['msg']}{given}")
    return f"Bad arguments for {name}. " + "; ".join(problems) + "."


def _error(words: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=words)], is_error=True)
