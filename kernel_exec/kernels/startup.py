"""Runs inside each kernel as it starts; never imported by the server. Standard library only.

It closes two ways in which ipykernel loses output.
"""


def prepare() -> None:
    """Let no output be lost between the code and the socket."""
    import json

    from IPython import get_ipython
    from jupyter_client.jsonutil import json_default

    kernel = get_ipython().kernel
    thread = kernel.iopub_thread
    # Past 1,000 unsent messages the socket would drop what comes (ZMQ_SNDHWM).
    thread.schedule(lambda: thread.socket.set_hwm(0))

    # A lone surrogate cannot be encoded; the whole message would be lost with it.
    pack = kernel.session.pack

    def pack_anything(message: object) -> bytes:
        try:
            packed: bytes = pack(message)
        except UnicodeEncodeError:
            packed = json.dumps(message, default=json_default).encode()
        return packed

    kernel.session.pack = pack_anything


prepare()
