"""A request that a kernel has been sent, until its reply and its idle have arrived."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["InputRequest", "KernelEnded", "Message", "Request"]

Message = Mapping[str, Any]
"""A message of the Jupyter protocol, deserialised: header, parent_header, metadata, content, buffers.
https://jupyter-client.readthedocs.io/en/stable/messaging.html"""

# The reply and the idle travel on two sockets, so either may come first. A lost idle must not hang
# the session: after the reply, it is waited for this long.
IDLE_GRACE_SECONDS = 2.0


class KernelEnded(Exception):  # noqa: N818 - an event, told to whoever waits for a reply
    """The kernel's process ended before the reply came."""


@dataclass(frozen=True, slots=True)
class InputRequest:
    """What `input()` or `getpass()` asks for; *password* asks not to show or keep the answer."""

    prompt: str
    password: bool


class Request:
    """One request in flight. *on_output* gets its IOPub messages, *on_input* its input requests.

    Both are called in order of arrival, and *on_output* also after the end: a thread that the code
    started may go on writing.
    """

    def __init__(
        self,
        message_id: str,
        on_output: Callable[[Message], None] | None = None,
        on_input: Callable[[InputRequest], None] | None = None,
    ) -> None:
        self.message_id = message_id
        self.on_output = on_output
        self.on_input = on_input
        self.busy = asyncio.Event()
        self.idle = asyncio.Event()
        self.reply: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        # An unanswered request that nobody waits for any more is no error.
        self.reply.add_done_callback(lambda reply: reply.cancelled() or reply.exception())

    async def finished(self) -> Message:
        """Wait for the reply and the idle; returns the reply's content.

        Raises: KernelEnded.
        """
        reply = await asyncio.shield(self.reply)
        try:
            async with asyncio.timeout(IDLE_GRACE_SECONDS):
                await self.idle.wait()
        except TimeoutError:
            self.idle.set()
        content: Message = reply["content"]
        return content
