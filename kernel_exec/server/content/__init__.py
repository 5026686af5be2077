"""Executions as MCP content: what a reader sees, within a budget.

`reply` puts together one reply. It reads outputs through `terminal` (escape sequences), `tracebacks`
and `mimebundles` (with `charts`, `markup`, `images`), keeps what `clipping` leaves, adds the line of
`status`, and links the rest as `resources`.
"""

from kernel_exec.server.content.budget import Budget
from kernel_exec.server.content.reply import REPLY_LIMIT_BYTES, render, render_many
from kernel_exec.server.content.resources import output_resource, output_uri

__all__ = ["REPLY_LIMIT_BYTES", "Budget", "output_resource", "output_uri", "render", "render_many"]
