"""A request that a kernel has been sent, until its reply and its idle have arrived."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["InputRequest", "KernelEnded", "Message", "OnInput", "OnOutput", "Request"]

Message = Mapping[str, Any]
"""A message of the Jupyter protocol, deserialised: header, parent_header, metadata, content, buffers.
https://jupyter-client.readthedocs.io/en/stable/messaging.html"""

# The reply and the idle travel on two sockets, so either may come first. A lost idle must not hang
# the session: after the reply it is waited for until nothing came in this many intervals in a row.
IDLE_WAIT_SECONDS = 0.2
IDLE_WAITS = 10


class KernelEnded(Exception):
    """The kernel's process ended before the reply came."""


@dataclass(frozen=True, slots=True)
class InputRequest:
    """What `input()` or `getpass()` asks for; *password* asks not to show or keep the answer."""

    prompt: str
    password: bool


OnOutput = Callable[[Message], None]
OnInput = Callable[[InputRequest], None]


class Request:
    """One request in flight. *begun* is done when the kernel has taken up code to execute, *reply* and
    *idle* when these have arrived; *reply* raises KernelEnded if it never will. *heard* counts outputs.
    """

    def __init__(self, message_id: str, on_input: OnInput | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.message_id = message_id
        self.on_input = on_input
        self.heard = 0
        self.begun: asyncio.Future[None] = loop.create_future()
        self.idle: asyncio.Future[None] = loop.create_future()
        self.reply: asyncio.Future[Message] = loop.create_future()
        # An unanswered request that nobody waits for any more is no error.
        self.reply.add_done_callback(lambda reply: reply.cancelled() or reply.exception())

    @property
    def settled(self) -> bool:
        """Whether nothing more is to come but late output."""
        return self.reply.done() and self.idle.done()

    async def finished(self) -> Message:
        """Wait for the reply and the idle; returns the reply's content.

        Raises: KernelEnded.
        """
        reply = await asyncio.shield(self.reply)
        waits = 0
        while not self.idle.done() and waits < IDLE_WAITS:
            heard = self.heard
            await asyncio.wait({self.idle}, timeout=IDLE_WAIT_SECONDS)
            waits = waits + 1 if self.heard == heard else 0
        content: Message = reply["content"]
        return content
