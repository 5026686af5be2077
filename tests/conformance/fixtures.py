"""What the conformance scenarios expect of a server: tools, resources and prompts with fixed names."""

import base64
import json
from typing import Annotated, Any

import anyio
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.shared.exceptions import MCPError
from mcp.types import (
    AudioContent,
    CallToolResult,
    ContentBlock,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    EmbeddedResource,
    ImageContent,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    TextContent,
    TextResourceContents,
)
from pydantic import BaseModel, Field

from kernel_exec.server.boundary import KernelExecServer

__all__ = ["add_fixtures"]

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
WAV = base64.b64encode(
    b"RIFF\x26\x00\x00\x00WAVE"
    b"fmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00"
    b"data\x02\x00\x00\x00\x00\x00"
).decode()
MISSING_CAPABILITY = -32021
WORDS = "This is a simple text response for testing."

ToolContext = Context[Any]


def add_fixtures(server: KernelExecServer) -> None:
    """Register everything; on the real server, so that its boundary and its transport are what is tested."""
    _add_contents(server)
    _add_questions_of_2025(server)
    _add_questions_of_2026(server)
    _add_changes(server)
    _add_resources(server)
    _add_prompts(server)


def _reply(*content: ContentBlock | str) -> CallToolResult:
    return CallToolResult(content=[_text(one) if isinstance(one, str) else one for one in content])


def _text(words: str) -> TextContent:
    return TextContent(type="text", text=words)


def _image() -> ImageContent:
    return ImageContent(type="image", data=PNG, mime_type="image/png")


def _embedded(uri: str, text: str, mime_type: str = "text/plain") -> EmbeddedResource:
    contents = TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    return EmbeddedResource(type="resource", resource=contents)


def _add_contents(server: KernelExecServer) -> None:
    @server.tool(structured_output=False)
    async def test_simple_text() -> CallToolResult:
        """Text."""
        return _reply(WORDS)

    @server.tool(structured_output=False)
    async def test_image_content() -> CallToolResult:
        """An image."""
        return _reply(_image())

    @server.tool(structured_output=False)
    async def test_audio_content() -> CallToolResult:
        """Sound."""
        return _reply(AudioContent(type="audio", data=WAV, mime_type="audio/wav"))

    @server.tool(structured_output=False)
    async def test_embedded_resource() -> CallToolResult:
        """A resource inside the reply."""
        return _reply(_embedded("test://embedded-resource", "This is an embedded resource content."))

    @server.tool(structured_output=False)
    async def test_multiple_content_types() -> CallToolResult:
        """Text, an image and a resource."""
        data = _embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json")
        return _reply("Multiple content types test:", _image(), data)

    @server.tool(structured_output=False)
    async def test_error_handling() -> CallToolResult:
        """A crash."""
        raise RuntimeError("This tool intentionally returns an error for testing")

    @server.tool(structured_output=False)
    async def test_tool_with_progress(ctx: ToolContext) -> CallToolResult:
        """Progress in three steps."""
        for done in (0, 50, 100):
            await ctx.report_progress(done, 100)
            await anyio.sleep(0.05)
        return _reply("done")

    @server.tool(structured_output=False)
    async def test_custom_header(
        region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})],
    ) -> CallToolResult:
        """An argument that is mirrored in a header."""
        return _reply(region)


class Person(BaseModel):
    username: str = Field(description="User's response")
    email: str = Field(description="User's email address")


class Defaults(BaseModel):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: str = Field("active", json_schema_extra={"enum": ["active", "inactive", "pending"]})
    verified: bool = True


def _titled(*names: str) -> list[dict[str, str]]:
    return [{"const": name, "title": name.capitalize()} for name in names]


class Choices(BaseModel):
    untitledSingle: str = Field(json_schema_extra={"enum": ["a", "b", "c"]})
    titledSingle: str = Field(json_schema_extra={"oneOf": _titled("a", "b", "c")})  # type: ignore[dict-item]
    legacyEnum: str = Field(json_schema_extra={"enum": ["a", "b", "c"], "enumNames": ["A", "B", "C"]})
    untitledMulti: list[str] = Field(json_schema_extra={"items": {"type": "string", "enum": ["a", "b", "c"]}})
    titledMulti: list[str] = Field(json_schema_extra={"items": {"anyOf": _titled("a", "b", "c")}})  # type: ignore[dict-item]


def _add_questions_of_2025(server: KernelExecServer) -> None:
    """Questions that the server asks while a call runs."""

    async def ask(ctx: ToolContext, message: str, form: type[BaseModel]) -> CallToolResult:
        answer = await ctx.elicit(message, form)
        content = answer.data.model_dump_json() if answer.action == "accept" else "{}"
        return _reply(f"User response: action={answer.action}, content={content}")

    @server.tool(structured_output=False)
    async def test_elicitation(message: str, ctx: ToolContext) -> CallToolResult:
        """Ask for a person."""
        return await ask(ctx, message, Person)

    @server.tool(structured_output=False)
    async def test_elicitation_sep1034_defaults(ctx: ToolContext) -> CallToolResult:
        """Ask with defaults."""
        return await ask(ctx, "Review these values", Defaults)

    @server.tool(structured_output=False)
    async def test_elicitation_sep1330_enums(ctx: ToolContext) -> CallToolResult:
        """Ask for choices."""
        return await ask(ctx, "Choose", Choices)

    @server.tool(structured_output=False)
    async def test_sampling(prompt: str, ctx: ToolContext) -> CallToolResult:
        """Ask the client's model."""
        message = SamplingMessage(role="user", content=_text(prompt))
        answer = await ctx.session.create_message([message], max_tokens=100)
        return _reply(f"LLM response: {getattr(answer.content, 'text', '')}")


def _form(message: str, field: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _sample(prompt: str) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=_text(prompt))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=50))


NAME = {"user_name": _form("What is your name?", "name")}
CONFIRM = {"confirm": _form("Please confirm", "ok", "boolean")}
CAPITAL = {"capital_question": _sample("What is the capital of France?")}
ROOTS = {"client_roots": ListRootsRequest()}
GREETING = {"greeting": _sample("Generate a greeting")}
STEPS = (
    {"step1": _form("Step 1: What is your name?", "name")},
    {"step2": _form("Step 2: What is your favorite color?", "color")},
)
CONTEXT = {"user_context": _form("What context should the prompt use?", "context")}
ANSWERS = {
    ElicitRequest: ElicitResult,
    CreateMessageRequest: CreateMessageResult,
    ListRootsRequest: ListRootsResult,
}


def _unanswered(
    ctx: ToolContext, asked: dict[str, Any], state: str | None = None
) -> InputRequiredResult | None:
    """The questions again, unless the call brings an answer of the right kind to each."""
    given = ctx.input_responses or {}
    if all(isinstance(given.get(key), ANSWERS[type(request)]) for key, request in asked.items()):
        return None
    return InputRequiredResult(input_requests=asked, request_state=state)


def _add_questions_of_2026(server: KernelExecServer) -> None:
    """Questions that a reply asks and the next call answers."""

    def add(name: str, asked: dict[str, Any], state: str | None = None) -> None:
        async def tool(ctx: ToolContext) -> CallToolResult | InputRequiredResult:
            if unanswered := _unanswered(ctx, asked, state):
                return unanswered
            assert ctx.request_state == state
            answers = [answer.model_dump_json() for answer in (ctx.input_responses or {}).values()]
            return _reply("state-ok", *answers)

        server.add_tool(
            tool, name=f"test_input_required_result_{name}", description="Asks.", structured_output=False
        )

    add("elicitation", NAME)
    add("sampling", CAPITAL)
    add("list_roots", ROOTS)
    add("request_state", CONFIRM, "begun")
    add("multiple_inputs", NAME | GREETING | ROOTS, "begun")
    add("tampered_state", CONFIRM, "begun")

    @server.tool(structured_output=False)
    async def test_input_required_result_multi_round(
        ctx: ToolContext,
    ) -> CallToolResult | InputRequiredResult:
        """Ask twice."""
        first, second = STEPS
        if ctx.request_state is None:
            return InputRequiredResult(input_requests=dict(first), request_state="1")
        asked, state = (first, "1") if ctx.request_state == "1" else (second, "2")
        if unanswered := _unanswered(ctx, dict(asked), state):
            return unanswered
        if state == "1":
            return InputRequiredResult(input_requests=dict(second), request_state="2")
        return _reply("done")

    @server.tool(structured_output=False)
    async def test_input_required_result_capabilities(
        ctx: ToolContext,
    ) -> CallToolResult | InputRequiredResult:
        """Ask only what the client can answer."""
        can = ctx.client_capabilities
        asked: dict[str, InputRequest] = {}
        if can is not None and can.sampling is not None:
            asked |= GREETING
        if can is not None and can.elicitation is not None:
            asked |= NAME
        return InputRequiredResult(input_requests=asked) if asked else _reply("You can answer nothing.")

    @server.tool(structured_output=False)
    async def test_missing_capability(ctx: ToolContext) -> CallToolResult:
        """Refuse a client that cannot sample."""
        can = ctx.client_capabilities
        if can is None or can.sampling is None:
            missing: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
            raise MCPError(MISSING_CAPABILITY, "The client must be able to sample.", missing)
        return _reply("done")


def _add_changes(server: KernelExecServer) -> None:
    @server.tool(structured_output=False)
    async def test_trigger_tool_change(ctx: ToolContext) -> CallToolResult:
        """Say that the tools changed."""
        await ctx.notify_tools_changed()
        return _reply("done")

    @server.tool(structured_output=False)
    async def test_trigger_prompt_change(ctx: ToolContext) -> CallToolResult:
        """Say that the prompts changed."""
        await ctx.notify_prompts_changed()
        return _reply("done")


def _add_resources(server: KernelExecServer) -> None:
    @server.resource("test://static-text", mime_type="text/plain")
    async def static_text() -> str:
        """Text."""
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    async def static_binary() -> bytes:
        """An image."""
        return base64.b64decode(PNG)

    @server.resource("test://template/{id}/data", mime_type="application/json")
    async def template(id: str) -> str:
        """One of many."""
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


def _add_prompts(server: KernelExecServer) -> None:
    @server.prompt()
    async def test_simple_prompt() -> str:
        """Text."""
        return "This is a simple prompt for testing."

    @server.prompt()
    async def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        """Text with arguments in it."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt()
    async def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:
        """A resource."""
        resource = _embedded(resourceUri, "Embedded resource content for testing.")
        return [UserMessage(resource), UserMessage("Please process the embedded resource above.")]

    @server.prompt()
    async def test_prompt_with_image() -> list[UserMessage]:
        """An image."""
        return [UserMessage(_image()), UserMessage("Please analyze the image above.")]

    @server.prompt()
    async def test_input_required_result_prompt(ctx: ToolContext) -> str | InputRequiredResult:
        """Ask for what the prompt needs."""
        return _unanswered(ctx, CONTEXT) or "Go on."
