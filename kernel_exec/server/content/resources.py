"""Outputs as resources: where they are and what is read there."""

from kernel_exec.server.content.mimebundles import whole
from kernel_exec.server.content.terminal import show
from kernel_exec.sessions.outputs import Error, Output, Stream

__all__ = ["output_resource", "output_uri"]


def output_uri(execution: str, index: int | str) -> str:
    """The URI of the output at position *index* of an execution."""
    return f"kernel-exec://executions/{execution}/outputs/{index}"


def output_resource(output: Output) -> tuple[bytes | str, str]:
    """The whole of *output* and its MIME type.

    A stream as it was written (in memory, however long), an exception with all frames, of a mimebundle
    the part that holds most, decoded.

    Raises: OSError when the file of a stream is gone.
    """
    if isinstance(output, Stream):
        return output.text, "text/plain"
    if isinstance(output, Error):
        return show("\n".join(output.traceback) or f"{output.name}: {output.value}"), "text/plain"
    return whole(output.data)
