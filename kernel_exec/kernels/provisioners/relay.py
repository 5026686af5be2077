"""Makes the proxy's unix socket a port of this network namespace, then becomes the command:
`relay.py SOCKET COMMAND …`.

Standard library only, for Python 3.8 and later: it is run inside the sandbox.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

PORT = 3128
PIECE_BYTES = 1 << 16


def copy(source: socket.socket, target: socket.socket) -> None:
    """Copy until the end, then tell the other side that it was the end."""
    try:
        while True:
            piece = source.recv(PIECE_BYTES)
            if not piece:
                break
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for one in (source, target):
            one.close()


def connect(client: socket.socket, path: str) -> None:
    """Join one connection with a new one to the proxy."""
    proxy = socket.socket(socket.AF_UNIX)
    try:
        proxy.connect(path)
    except OSError:
        client.close()
        return
    back = threading.Thread(target=copy, args=(proxy, client), daemon=True)
    back.start()
    copy(client, proxy)
    back.join()
    client.close()
    proxy.close()


def serve(listener: socket.socket, path: str) -> None:
    """Accept until the namespace ends."""
    while True:
        client, _ = listener.accept()
        threading.Thread(target=connect, args=(client, path), daemon=True).start()


def main(path: str, command: list[str]) -> None:
    """Serve in a process that is no child of the command, which may wait for all of its own."""
    listener = socket.create_server(("127.0.0.1", PORT))  # before the command can ask
    child = os.fork()
    if child == 0:
        os.setsid()  # so that an interrupt of the kernel does not reach it
        if os.fork() == 0:
            serve(listener, path)
        os._exit(0)
    os.waitpid(child, 0)
    listener.close()
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
