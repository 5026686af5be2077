"""Prompts, resources and what the server says of itself."""

import json

import pytest
from mcp import MCPError

from tests.server.conftest import Connect, execution_of

TOOLS = {
    "close_session",
    "create_environment",
    "delete_environment",
    "describe_environment",
    "execute_code",
    "execute_file",
    "export_notebook",
    "get_execution",
    "health_check",
    "inspect_session",
    "install_packages",
    "interrupt_session",
    "list_environments",
    "list_packages",
    "list_sessions",
    "repair_environment",
    "restart_session",
    "send_input",
    "uninstall_packages",
}
# What Claude Code shows of a description.
LONGEST_DESCRIPTION = 2_000


async def test_every_tool_describes_itself_and_its_arguments(connect: Connect) -> None:
    async with connect() as caller:
        tools = (await caller.client.list_tools()).tools
        assert {tool.name for tool in tools} == TOOLS
        for tool in tools:
            assert tool.description
            assert len(tool.description) < LONGEST_DESCRIPTION
            assert tool.annotations is not None
            for name, schema in tool.input_schema.get("properties", {}).items():
                assert schema.get("description"), f"{tool.name}.{name}"


async def test_prompts_name_the_tools_to_use(connect: Connect) -> None:
    async with connect() as caller:
        prompts = {prompt.name for prompt in (await caller.client.list_prompts()).prompts}
        assert prompts == {"execute-python", "debug-python", "install-packages", "create-venv"}
        prompt = await caller.client.get_prompt("execute-python", {"code": "1+1"})
        assert "execute_code" in str(prompt.messages[0].content)


async def test_a_session_is_a_notebook_resource(connect: Connect) -> None:
    async with connect() as caller:
        await caller.run("6 * 7")
        read = await caller.client.read_resource(f"kernel-exec://sessions/{caller.session}/notebook")
        notebook = json.loads(read.contents[0].text)  # type: ignore[union-attr]
        assert notebook["nbformat"] == 4
        assert notebook["cells"][0]["outputs"][0]["data"]["text/plain"] == "42"


async def test_an_environment_is_a_requirements_resource(connect: Connect) -> None:
    async with connect() as caller:
        read = await caller.client.read_resource("kernel-exec://environments/default/requirements")
        assert "ipykernel==" in read.contents[0].text  # type: ignore[union-attr]


async def test_a_long_output_is_whole_as_a_resource(connect: Connect) -> None:
    async with connect() as caller:
        reply = await caller.call("execute_code", code="print('x' * 50_000)", session=caller.session)
        uri = f"kernel-exec://executions/{execution_of(reply)}/outputs/0"
        read = await caller.client.read_resource(uri)
        assert read.contents[0].text == "x" * 50_000 + "\n"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "uri",
    [
        "kernel-exec://executions/e999999999/outputs/0",
        "kernel-exec://executions/x/outputs/y",
        "kernel-exec://sessions/nobody/notebook",
        "kernel-exec://environments/nowhere/requirements",
        "kernel-exec://environments/..%2F..%2Fetc/requirements",
    ],
)
async def test_an_unknown_resource_is_an_error_of_the_protocol(connect: Connect, uri: str) -> None:
    async with connect() as caller:
        with pytest.raises(MCPError):
            await caller.client.read_resource(uri)


async def test_an_unknown_prompt_names_the_known_ones(connect: Connect) -> None:
    async with connect() as caller:
        with pytest.raises(MCPError, match="execute-python"):
            await caller.client.get_prompt("run-python")
