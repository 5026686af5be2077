"""Outputs aimed at whoever reads them: they stay data, in replies and in notebooks."""

import re
from pathlib import Path

import nbformat
import pytest
from mcp import Client
from mcp.types import CallToolResult, ResourceLink, TextContent

from kernel_exec.runtime import Runtime
from kernel_exec.server.app import create_server
from tests.security.attempts import OUTPUTS, Attempt
from tests.security.conftest import World

pytestmark = pytest.mark.slow

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
ACTIVE = re.compile("<(script|img)|javascript:|onerror", re.IGNORECASE)


@pytest.mark.parametrize("attempt", OUTPUTS, ids=lambda attempt: attempt.name)
async def test_an_output_does_nothing_to_its_reader(
    world: World, runtime: Runtime, level: str, attempt: Attempt
) -> None:
    before = world.fingerprint()
    unpickled = world.workspace / "unpickled"
    code = attempt.code.format(unpickled=str(unpickled))
    notebook = Path(world.workspace, f"{attempt.name}.ipynb")
    async with Client(create_server(runtime.settings, runtime=runtime)) as client:
        reply = await client.call_tool("execute_code", {"code": code, "session": "hostile"})
        again = await client.call_tool("list_sessions", {})
        linked = [
            content
            for block in reply.content
            if isinstance(block, ResourceLink)
            for content in (await client.read_resource(block.uri)).contents
        ]
        await client.call_tool("export_notebook", {"session": "hostile", "path": notebook.name})
    await runtime.sessions.close("hostile")

    assert not reply.is_error, _text(reply)
    assert all(isinstance(block, TextContent | ResourceLink) for block in reply.content)
    for shown in (_text(reply), _text(again)):
        assert not CONTROL.search(shown)
        assert not ACTIVE.search(shown)
    kinds = {content.mime_type for content in linked}
    assert attempt.name != "pickle" or "application/x-python-pickle" in kinds  # handed on, not opened
    exported = nbformat.read(notebook, as_version=4)
    nbformat.validate(exported)
    assert not any(cell.metadata.get("trusted") for cell in exported.cells)
    assert not unpickled.exists()
    for path in world.workspace.iterdir():
        path.unlink()
    assert world.fingerprint() == before
    assert (await runtime.sessions.get("other").execute("secret")).text == "42"


def _text(reply: CallToolResult) -> str:
    return "\n".join(block.text for block in reply.content if isinstance(block, TextContent))
