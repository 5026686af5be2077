"""Prompts: ready requests that a user can pick in a client."""

from typing import Annotated

from mcp.server.mcpserver import MCPServer
from pydantic import Field

from kernel_exec.runtime import Runtime

__all__ = ["add_prompts"]

Environment = Annotated[str, Field(description="Environment to use; empty for the default one")]


def add_prompts(server: MCPServer[Runtime]) -> None:
    """Register the prompts of this module."""

    @server.prompt(name="execute-python", title="Run Python code")
    def execute_python(
        code: Annotated[str, Field(description="Code to run")], environment: Environment = ""
    ) -> str:
        """Run a piece of code and explain what came out."""
        return (
            f"Run this code with execute_code{_within(environment)} and explain the result. "
            f"If it fails, say why.\n\n```python\n{code}\n```"
        )

    @server.prompt(name="debug-python", title="Find and mend an error")
    def debug_python(
        code: Annotated[str, Field(description="Code that does not work")],
        error: Annotated[str, Field(description="What goes wrong, if known")] = "",
    ) -> str:
        """Reproduce an error, find its cause step by step, and propose a tested correction."""
        seen = f"\n\nWhat goes wrong:\n{error}" if error else ""
        return (
            "Debug this code with execute_code. Reproduce the error first; then look at the state with "
            "inspect_session and small experiments in the same session, whose variables persist. Propose the "
            f"smallest correction, and run it before you present it.\n\n```python\n{code}\n```{seen}"
        )

    @server.prompt(name="install-packages", title="Install packages")
    def install_packages(
        packages: Annotated[str, Field(description="Packages, separated by spaces or commas")],
        environment: Environment = "",
    ) -> str:
        """Install packages and check that they can be imported."""
        names = ", ".join(packages.replace(",", " ").split())
        return (
            f"Install these packages with install_packages{_within(environment)}: {names}. Then import each "
            "with execute_code and report the versions. If the reply names sessions that hold old versions, "
            "ask before you restart them."
        )

    @server.prompt(name="create-venv", title="Create an environment")
    def create_venv(
        name: Annotated[str, Field(description="Name of the environment")],
        packages: Annotated[str, Field(description="Packages, separated by spaces or commas")] = "",
        description: Annotated[str, Field(description="What it is for")] = "",
    ) -> str:
        """Create an environment, with packages, and show what is in it."""
        names = ", ".join(packages.replace(",", " ").split())
        return (
            f"Create an environment named {name!r} with create_environment"
            + (f", with these packages: {names}" if names else "")
            + (f", and this description: {description}" if description else "")
            + ". Then show its packages with list_packages."
        )


def _within(environment: str) -> str:
    return f" in the environment {environment!r}" if environment else ""
