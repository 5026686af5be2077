"""Persistent Python for AI agents: code runs in real Jupyter kernels, one per session.

    async with kernel_exec.open_runtime() as runtime:
        session = await runtime.sessions.open("main")
        execution = await session.execute("1 + 1")
        print(execution.text)

Four floors, each of which uses only those below it:

    server        the MCP face: tools, resources, prompts, content, transports
    runtime       builds and owns everything in one process
    sessions      named kernels with a queue and a history; notebooks
    kernels       live kernels: start, talk, interrupt, end
    environments  named virtual environments on disk
    errors, settings, processes, cleanup, names, workspace
"""

from kernel_exec.errors import KernelExecError
from kernel_exec.runtime import Runtime, open_runtime
from kernel_exec.sessions.execution import Execution
from kernel_exec.sessions.outputs import DisplayData, Error, ExecuteResult, Output, Stream
from kernel_exec.sessions.session import Session
from kernel_exec.settings import Settings, load_settings

__all__ = [
    "DisplayData",
    "Error",
    "ExecuteResult",
    "Execution",
    "KernelExecError",
    "Output",
    "Runtime",
    "Session",
    "Settings",
    "Stream",
    "load_settings",
    "open_runtime",
]
__version__ = "0.1.0"
