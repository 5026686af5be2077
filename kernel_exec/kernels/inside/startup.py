"""Runs inside each kernel as it starts; never imported by the server. Standard library only.

It closes gaps of ipykernel in which the end of the server, output, interrupts or replies are lost.
"""

from typing import Any


def prepare() -> None:
    """Prepare the kernel of this process, before it executes anything."""
    from IPython import get_ipython

    shell = get_ipython()
    end_with_the_server()
    keep_all_output(shell.kernel)
    keep_interrupts(shell, shell.kernel)


def end_with_the_server() -> None:
    """The kernel notices by itself that its parent is gone, but not while code holds the GIL."""
    import ctypes
    import signal
    import sys

    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def keep_all_output(kernel: Any) -> None:
    """Let nothing be lost between the code and the socket."""
    import json
    import sys

    from jupyter_client.jsonutil import json_default

    # Past 1,000 unsent messages the socket would drop what comes (ZMQ_SNDHWM).
    thread = kernel.iopub_thread
    thread.schedule(lambda: thread.socket.set_hwm(0))

    # A lone surrogate cannot be encoded; the whole message would be lost with it.
    pack = kernel.session.pack

    def pack_anything(message: Any) -> bytes:
        try:
            packed: bytes = pack(message)
        except UnicodeEncodeError:
            packed = json.dumps(message, default=json_default).encode()
        return packed

    kernel.session.pack = pack_anything

    # What is printed between two flushes is one message; pieces of it keep the reader's memory small.
    piece_chars = 1 << 18

    def in_pieces(flush_buffers: Any) -> Any:
        for parent, text in flush_buffers():
            for start in range(0, len(text), piece_chars):
                yield parent, text[start : start + piece_chars]

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "_flush_buffers"):
            stream._flush_buffers = lambda flush=stream._flush_buffers: in_pieces(flush)


def keep_interrupts(shell: Any, kernel: Any) -> None:
    """An interrupt before the code begins takes effect when it begins; one after its end has none.

    Otherwise it would hit the kernel's own code, and the reply would be lost.
    """
    import asyncio
    import signal
    import threading

    begun = interrupted = False
    interrupt = compile("raise KeyboardInterrupt", "<interrupt>", "exec")
    pre_handler_hook, do_execute, run_code = kernel.pre_handler_hook, kernel.do_execute, shell.run_code

    # Python sees a signal late if it comes just before a system call; the server then sends this one too.
    if hasattr(signal, "SIGURG"):
        signal.signal(signal.SIGURG, lambda signum, frame: None)

    def remember(signum: int, frame: Any) -> None:
        nonlocal interrupted
        interrupted = True

    def in_main_thread() -> bool:
        return threading.current_thread() is threading.main_thread()  # else in a subshell

    def on_interrupt(handler: Any) -> None:
        if in_main_thread():
            signal.signal(signal.SIGINT, handler)

    def before_request() -> None:
        nonlocal begun, interrupted
        pre_handler_hook()
        on_interrupt(remember)
        begun = interrupted = False

    async def execute(code: str, silent: bool, *args: Any, **options: Any) -> Any:
        try:
            if silent and not code:
                # Expressions alone, perhaps beside code that runs. ipykernel's own way would take `input`
                # from that code and call the hooks, one of which shows figures that are half drawn.
                on_interrupt(signal.default_int_handler)
                values = shell.user_expressions(options.get("user_expressions") or {})
                told = {"execution_count": kernel.execution_count, "payload": []}
                return {"status": "ok", "user_expressions": values, **told}
            return await do_execute(code, silent, *args, **options)
        # Also of an exception that has no `str`, and of code that awaits and was cancelled before it began.
        except (Exception, KeyboardInterrupt, asyncio.CancelledError) as error:
            name = type(error).__name__
            reply = {"ename": name, "evalue": "", "traceback": [name]}
            return {"status": "error", "execution_count": kernel.execution_count, **reply}
        finally:
            try:
                on_interrupt(remember)
            except KeyboardInterrupt:  # of a signal that waited until now; the reply is not to be lost for it
                on_interrupt(remember)

    def waking(handler: Any) -> Any:
        loop = asyncio.get_running_loop()

        def handle(signum: int, frame: Any) -> None:
            handler(signum, frame)
            loop.call_soon_threadsafe(lambda: None)

        return handle

    async def run(code: Any, *args: Any, **options: Any) -> Any:
        nonlocal begun
        if not begun and in_main_thread():  # the first statement; from here on the handler is the user's
            begun = True
            handler = signal.getsignal(signal.SIGINT)
            # For code that awaits ipykernel has one of its own, which its sleeping event loop does not see.
            on_interrupt(signal.default_int_handler if handler is remember else waking(handler))
            code = interrupt if interrupted else code
        return await run_code(code, *args, **options)

    kernel.pre_handler_hook, kernel.do_execute, shell.run_code = before_request, execute, run


prepare()
