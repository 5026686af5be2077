"""Serve clients over streamable HTTP, each request with a bearer token."""

import hmac
import ipaddress
import secrets
import signal
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager

import anyio
import anyio.abc
import uvicorn
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.settings import AuthSettings
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl

from kernel_exec.errors import SettingsError
from kernel_exec.runtime import Runtime, open_runtime
from kernel_exec.server.app import create_server
from kernel_exec.server.metrics import add_metrics
from kernel_exec.sessions.sessions import LOCAL
from kernel_exec.settings import Settings

__all__ = ["OwnerToken", "serve_http"]

PATH = "/mcp"
SCOPE = "execute"
TOKEN_BYTES = 32
SHORTEST_TOKEN_CHARS = 16
# A request may carry the source of a large file.
REQUEST_LIMIT_BYTES = 16 << 20
CLOSING_SECONDS = 2
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


class OwnerToken(TokenVerifier):
    """One token, whose bearer is the user who started the server."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        """The owner's access if the token is the one; compared in constant time."""
        if not hmac.compare_digest(token.encode(), self._token):
            return None
        return AccessToken(token=token, client_id="token", subject=LOCAL, scopes=[SCOPE])


def serve_http(settings: Settings) -> None:
    """Serve until a signal comes; then every kernel is ended. Says on standard error where it listens.

    Raises: SettingsError: a token that is too short, an address beyond loopback without a token of the
    operator's, or one that cannot be listened on.
    """
    token = _token(settings)
    caught: list[int] = []

    async def main(listening: socket.socket) -> None:
        async with open_runtime(settings) as runtime:
            web = _Server(_config(settings, runtime, token, listening.getsockname()[1]))
            async with anyio.create_task_group() as tasks:
                await tasks.start(_stop, web, caught)
                await web.serve(sockets=[listening])
                tasks.cancel_scope.cancel()

    with _listen(settings) as listening:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        print(f"kernel-exec serves http://{host}:{listening.getsockname()[1]}{PATH}", file=sys.stderr)
        if settings.token is None:
            print(f"Authorization: Bearer {token}", file=sys.stderr, flush=True)
        anyio.run(main, listening)
    if caught:
        sys.exit(128 + caught[0])


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals are handled here: uvicorn would end the process before the kernels are ended."""
        yield


async def _stop(web: uvicorn.Server, caught: list[int], *, task_status: anyio.abc.TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for number in signals:
            caught.append(number)
            web.should_exit = True


def _config(settings: Settings, runtime: Runtime, token: str, port: int) -> uvicorn.Config:
    server = create_server(
        settings,
        runtime=runtime,
        token_verifier=OwnerToken(token),
        auth=AuthSettings(
            issuer_url=AnyHttpUrl(f"http://127.0.0.1:{port}"),
            resource_server_url=None,  # a token of our own, not OAuth: there is no metadata to advertise
            required_scopes=[SCOPE],
        ),
    )
    add_metrics(server, runtime, token)
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        host=settings.host,
        max_request_body_size=REQUEST_LIMIT_BYTES,
        transport_security=TransportSecuritySettings(
            enable_dns_rebinding_protection=True,
            allowed_hosts=[
                *(f"{name}:*" for name in (*LOOPBACK_NAMES, settings.host)),
                *settings.allowed_hosts,
            ],
            allowed_origins=[*(f"http://{name}:*" for name in LOOPBACK_NAMES), *settings.allowed_origins],
        ),
    )
    return uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=CLOSING_SECONDS)


def _token(settings: Settings) -> str:
    if settings.token is not None:
        token = settings.token.get_secret_value()
        if len(token) < SHORTEST_TOKEN_CHARS:
            raise SettingsError(
                f"Setting 'token' has {len(token)} characters.",
                f"Use at least {SHORTEST_TOKEN_CHARS}, random ones; or leave it out and one is made.",
            )
        return token
    if not _is_loopback(settings.host):
        raise SettingsError(
            f"Refusing to serve on {settings.host!r} without a token of yours: "
            "whoever connects can run code here.",
            "Set KERNEL_EXEC_TOKEN, or serve on 127.0.0.1.",
        )
    return secrets.token_urlsafe(TOKEN_BYTES)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(settings: Settings) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise SettingsError(
            f"Cannot listen on {settings.host} port {settings.port}: {error}.",
            "Choose another one with --host and --port (port 0 takes a free one).",
        ) from error
