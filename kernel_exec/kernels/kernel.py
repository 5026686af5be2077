"""A live kernel: talk to it, interrupt it, notice its end."""

import asyncio
import signal
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import structlog
import zmq
import zmq.asyncio
from jupyter_client.manager import AsyncKernelManager

from kernel_exec.kernels.ending import Ending, oom_kills
from kernel_exec.kernels.monitor import Watched
from kernel_exec.kernels.requests import InputRequest, KernelEnded, Message, OnInput, OnOutput, Request
from kernel_exec.kernels.usage import Usage, measure_tree, memory_of
from kernel_exec.kernels.widgets import COMM_TYPES, OutputWidgets
from kernel_exec.processes import KILL_GRACE_SECONDS, stop_tree

__all__ = ["Kernel"]

log = structlog.get_logger(__name__)

T = TypeVar("T")

POLL_SECONDS = 0.1
# A reader that finds messages waiting does not suspend, so it must let others run now and then.
READ_SLICE_SECONDS = 0.01
QUIET_MILLISECONDS = 50
# The kernel has taken a request up, or is in no state to hear an interrupt, within this time.
BEGIN_SECONDS = 1.0
# After an interrupt Python is reminded to look for it, by a signal that does nothing else (`inside.startup`).
REMIND_SECONDS = (0.05, 0.1)
# Late output finds the execution that caused it among this many; that of older ones joins the latest.
REMEMBERED_EXECUTIONS = 2_000
OUTPUT_TYPES = {
    "clear_output",
    "display_data",
    "error",
    "execute_input",
    "execute_result",
    "stream",
    "update_display_data",
    *COMM_TYPES,
}


class Kernel:
    """A kernel whose process runs; made by `Kernels.run`, which also ends it.

    *ended* is done when the process has ended, however that came. *info* is the content of the kernel's
    `kernel_info_reply`. *watched* has its limits, and what it used in the last minutes.
    """

    def __init__(self, manager: AsyncKernelManager, marker: tuple[str, str], watched: Watched) -> None:
        self._manager = manager
        self.watched = watched
        self._marker = marker
        self._oom_kills = oom_kills()
        self._peak_memory: int | None = None
        loop = asyncio.get_running_loop()
        self._requests: dict[str, Request] = {}  # in flight, by message id
        self._outputs: OrderedDict[str, OnOutput] = OrderedDict()  # of executions, by message id
        self._executing: Request | None = None
        self._widgets = OutputWidgets(
            lambda kind, content: self._send("shell", manager.session.msg(kind, content))
        )
        self._subshell: asyncio.Future[Message] | None = None
        self._subscribed: asyncio.Future[None] = loop.create_future()
        self._closed = False
        self.info: Message = {}
        self.ended: asyncio.Future[Ending] = loop.create_future()
        # The kernel routes input requests to the stdin socket by the identity of the shell socket.
        identity = manager.session.bsession
        sockets = {
            "shell": manager.connect_shell(identity=identity),
            "iopub": manager.connect_iopub(),
            "stdin": manager.connect_stdin(identity=identity),
            "control": manager.connect_control(identity=identity),
        }
        self._sockets = cast("dict[str, zmq.asyncio.Socket]", sockets)
        self._readers = {
            name: asyncio.create_task(self._read(name), name=f"{name} of {marker[1]}")
            for name in self._sockets
        }
        self._watcher = asyncio.create_task(self._watch(), name=f"end of {marker[1]}")

    @property
    def pid(self) -> int | None:
        """The process on this machine, if the provisioner has one."""
        return getattr(self._manager.provisioner, "pid", None)

    @property
    def marker(self) -> tuple[str, str]:
        """The environment variable, and its value, that all processes of this kernel inherit."""
        return self._marker

    @property
    def supports_subshells(self) -> bool:
        """Whether it can evaluate while it executes (ipykernel 7 and later)."""
        return "kernel subshells" in self.info.get("supported_features", ())

    @property
    def memory_bytes(self) -> int | None:
        """Memory of the kernel's own process now, and of its children when they were last measured."""
        own = None if self.pid is None else memory_of(self.pid)
        seen = self.watched.fresh
        return own if own is None or seen is None else own + seen.memory_bytes - seen.own_memory_bytes

    async def usage(self) -> Usage | None:
        """What the kernel and its children use; None when they are not on this machine."""
        if (seen := self.watched.fresh) is not None or self.pid is None:
            return seen
        return await asyncio.to_thread(measure_tree, self.pid, self._marker)

    def request(
        self,
        channel: str,
        message_type: str,
        content: dict[str, Any],
        *,
        on_output: OnOutput | None = None,
        on_input: OnInput | None = None,
        subshell: str | None = None,
    ) -> Request:
        """Send a request; what comes back for it reaches the `Request` and these callbacks only.

        They are called in order of arrival, *on_output* also after the end: a thread that the code
        started may go on writing.
        """
        message = self._manager.session.msg(message_type, content)
        if subshell is not None:
            message["header"]["subshell_id"] = subshell
        request = Request(message["header"]["msg_id"], on_input)
        self._requests[request.message_id] = request
        if on_output is not None:
            self._outputs[request.message_id] = on_output
            while len(self._outputs) > REMEMBERED_EXECUTIONS:
                self._outputs.popitem(last=False)
        if self.ended.done():
            request.reply.set_exception(KernelEnded())
        else:
            self._send(channel, message)
        return request

    def execute(self, code: str, *, on_output: OnOutput, on_input: OnInput | None = None) -> Request:
        """Send code to execute. Wait for `Request.finished`, one execution at a time."""
        content = _execute_content(code) | {"allow_stdin": on_input is not None, "store_history": True}
        self._executing = self.request(
            "shell", "execute_request", content, on_output=on_output, on_input=on_input
        )
        return self._executing

    async def evaluate(self, expression: str, *, timeout_seconds: float, aside: bool = False) -> str:
        """The `repr` of an expression in the user's namespace, without a trace in history or outputs.

        With *aside* it runs in a subshell, next to a running execution.

        Raises: TimeoutError; KernelEnded; ValueError with what the expression raised.
        """
        content = _execute_content("") | {"silent": True, "user_expressions": {"value": expression}}
        try:
            async with asyncio.timeout(timeout_seconds):
                subshell = await self._open_subshell() if aside else None
                reply = await self.request("shell", "execute_request", content, subshell=subshell).finished()
        except TimeoutError:
            # Whatever is stuck there is left alone: to delete a busy subshell would block the kernel.
            if aside and self._subshell is not None and self._subshell.done():
                self._subshell = None
            raise
        value = reply.get("user_expressions", {}).get("value", {})
        if value.get("status") != "ok":
            raise ValueError(f"{value.get('ename', 'error')}: {value.get('evalue', reply.get('status'))}")
        text: str = value["data"]["text/plain"]
        return text

    def answer(self, text: str) -> None:
        """Answer the input request that waits."""
        self._send("stdin", self._manager.session.msg("input_reply", {"value": text, "status": "ok"}))

    async def interrupt(self) -> None:
        """Interrupt what executes, as Ctrl-C would; nothing happens to a kernel that is idle or gone.

        A signal before the kernel takes the code up would be ignored, so that is waited for, bounded.
        """
        request = self._executing
        if request is None or request.reply.done():
            return
        await _first(request.begun, request.reply, timeout_seconds=BEGIN_SECONDS)
        if request.reply.done():
            return
        try:
            await self._manager.interrupt_kernel()
            for delay_seconds in REMIND_SECONDS:
                await asyncio.wait({request.reply}, timeout=delay_seconds)
                if not request.reply.done() and hasattr(signal, "SIGURG"):
                    await self._manager.signal_kernel(signal.SIGURG)
        except (OSError, RuntimeError) as error:  # it ended meanwhile
            log.debug("interrupt failed", error=str(error))

    async def ready(self) -> None:
        """Wait until the kernel answers and its output reaches us; sets *info*.

        jupyter_client's `wait_for_ready` waits a fixed 0.2 s besides; this waits on the events alone.
        A kernel that announces the subscription (`iopub_welcome`) is asked once; for others the question
        is repeated until an idle comes back, which shows that the subscription works.

        Raises: KernelEnded. The caller bounds the wait.
        """
        while True:
            request = self.request("shell", "kernel_info_request", {})
            self.info = (await request.reply)["content"]
            await _first(request.idle, self._subscribed, timeout_seconds=0.05)
            if request.idle.done() or self._subscribed.done():
                return

    def request_shutdown(self) -> None:
        """Ask the kernel to end; wait on *ended*, bounded, to see whether it did."""
        self._send("control", self._manager.session.msg("shutdown_request", {"restart": False}))

    async def kill(self) -> None:
        """Kill the whole process tree; *ended* is done afterwards."""
        provisioner = self._manager.provisioner
        if provisioner is not None:  # it knows its own best; then whatever that has missed
            await provisioner.kill()
        if self.pid is not None:
            await stop_tree(self.pid, marker=self._marker)
        await asyncio.wait({self.ended}, timeout=KILL_GRACE_SECONDS)

    async def close(self) -> None:
        """Close the sockets and end the tasks; the process is somebody else's concern."""
        self._closed = True
        for task in (*self._readers.values(), self._watcher):
            task.cancel()
        await asyncio.gather(*self._readers.values(), self._watcher, return_exceptions=True)
        for socket in self._sockets.values():
            socket.close(linger=0)
        if not self.ended.done():
            self._end(Ending(None))

    async def _open_subshell(self) -> str:
        """The identifier of the subshell for `evaluate`, made on first use."""
        if self._subshell is None:
            self._subshell = self.request("control", "create_subshell_request", {}).reply
        subshell: str = (await asyncio.shield(self._subshell))["content"]["subshell_id"]
        return subshell

    def _send(self, channel: str, message: dict[str, Any]) -> None:
        if not self._closed:
            # Not `session.send`: it sends past the asyncio socket, which then may miss that an answer is
            # there. The high-water marks are off, so a send is done at once; a Future comes all the same.
            _ = self._sockets[channel].send_multipart(self._manager.session.serialize(message))

    async def _read(self, channel: str) -> None:
        socket, session = self._sockets[channel], self._manager.session
        handle = getattr(self, f"_on_{channel}")
        slice_end = time.monotonic() + READ_SLICE_SECONDS
        while True:
            frames = await socket.recv_multipart()
            with _logged(channel):
                _, parts = session.feed_identities(frames)
                handle(session.deserialize(parts))
            if time.monotonic() > slice_end:
                await asyncio.sleep(0)
                slice_end = time.monotonic() + READ_SLICE_SECONDS

    def _on_shell(self, message: Message) -> None:
        request = self._requests.get(_parent_of(message))
        if request is not None:
            _resolve(request.reply, message)
            self._forget_if_settled(request)

    _on_control = _on_shell

    def _on_stdin(self, message: Message) -> None:
        request = self._requests.get(_parent_of(message))
        if request is not None and request.on_input is not None:
            content = message["content"]
            request.on_input(InputRequest(str(content.get("prompt", "")), bool(content.get("password"))))

    def _on_iopub(self, message: Message) -> None:
        parent, kind = _parent_of(message), message["header"]["msg_type"]
        request = self._requests.get(parent)
        if kind == "iopub_welcome":
            _resolve(self._subscribed, None)
        elif kind == "status" and request is not None:
            if message["content"].get("execution_state") == "idle":
                self._tell_widgets(parent)
                _resolve(request.idle, None)
                self._forget_if_settled(request)
        elif kind in OUTPUT_TYPES:
            if request is not None:
                request.heard += 1
                if kind == "execute_input":
                    _resolve(request.begun, None)
            if not self._widgets.catches(parent, message):
                self._put_out(parent, message)
            if request is None:  # late
                self._tell_widgets(parent)

    def _put_out(self, parent: str, message: Message) -> None:
        # Output that no execution of ours caused (a thread of a startup file, say) goes where a
        # notebook would show it: below the latest one.
        latest = next(reversed(self._outputs.values()), None)
        if (on_output := self._outputs.get(parent, latest)) is not None:
            on_output(message)

    def _tell_widgets(self, parent: str) -> None:
        with _logged("iopub"):
            for change in self._widgets.changes():
                self._put_out(parent, change)

    def _forget_if_settled(self, request: Request) -> None:
        if request.settled:
            self._requests.pop(request.message_id, None)

    async def _watch(self) -> None:
        """Notice the end of the process, whether or not anything executes."""
        provisioner = self._manager.provisioner
        assert provisioner is not None
        while (returncode := await provisioner.poll()) is None:
            self._peak_memory = max(filter(None, (self._peak_memory, self.memory_bytes)), default=None)
            self.watched.pid = self.pid
            await asyncio.sleep(POLL_SECONDS)
        await self._drain()
        killed = returncode == -9 and oom_kills() > self._oom_kills
        limit = self.watched.guard.why_killed() if returncode == -9 else ""
        self._end(Ending(returncode, killed, self._peak_memory, limit))

    async def _drain(self) -> None:
        """Let the readers take what the process sent before it ended."""
        while await self._sockets["iopub"].poll(QUIET_MILLISECONDS):  # noqa: ASYNC110 - it is the event
            await asyncio.sleep(0)

    def _end(self, ending: Ending) -> None:
        self._tell_widgets("")
        self.ended.set_result(ending)
        for request in self._requests.values():
            if not request.reply.done():
                request.reply.set_exception(KernelEnded())


def _parent_of(message: Message) -> str:
    parent: str = (message.get("parent_header") or {}).get("msg_id", "")
    return parent


def _resolve(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


async def _first(*futures: asyncio.Future[Any], timeout_seconds: float) -> None:
    await asyncio.wait(futures, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)


def _execute_content(code: str) -> dict[str, Any]:
    return {
        "code": code,
        "silent": False,
        "store_history": False,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": False,
    }


@contextmanager
def _logged(channel: str) -> Iterator[None]:
    """A message that cannot be read costs that message, never the channel."""
    try:
        yield
    except Exception as error:
        log.exception("message lost", channel=channel, error=str(error))
