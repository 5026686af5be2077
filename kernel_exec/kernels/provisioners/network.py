"""The only way out of a sandbox without a network: a proxy that dials what the operator listed.

It listens on a unix socket in the kernel's private directory; inside, `relay.py` makes that a port.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from kernel_exec.kernels.provisioners.relay import PORT

__all__ = ["Destinations", "Proxy", "Refused", "proxy_variables"]

HEAD_SECONDS = 30.0
DIAL_SECONDS = 30.0
HEAD_BYTES = 1 << 16
PIECE_BYTES = 1 << 16
CONNECTIONS = 128
HTTP_PORT = 80
END = b"\r\n\r\n"
# Between the client and the proxy only: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
HOP_HEADERS = ("connection:", "keep-alive:", "proxy-")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Refused(Exception):
    """What the code in the sandbox is told, with an HTTP status."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Destinations:
    """What may be dialled, from `host:port` patterns: `pypi.org:443`, `*.example.org:*`, `10.0.0.0/8:80`.

    A name must be listed, and what it resolves to must be a public address or be listed itself:
    otherwise whoever owns a listed name could point it into the host's own network.
    """

    names: tuple[tuple[str, str], ...]
    networks: tuple[tuple[Network, str], ...]

    @classmethod
    def of(cls, patterns: Sequence[str]) -> "Destinations":
        """Raises: ValueError."""
        names: list[tuple[str, str]] = []
        networks: list[tuple[Network, str]] = []
        for pattern in patterns:
            host, _, port = pattern.rpartition(":")
            try:
                networks.append((ipaddress.ip_network(host.strip("[]")), port))
            except ValueError:
                names.append((host.lower(), port))
        return cls(tuple(names), tuple(networks))

    def allow_name(self, host: str, port: int) -> bool:
        """Whether the host, a name or a literal address, is listed."""
        try:
            return self.lists(ipaddress.ip_address(host), port)
        except ValueError:
            host = host.lower().rstrip(".")
            return any(fnmatchcase(host, name) and _matches(port, allowed) for name, allowed in self.names)

    def allow_address(self, address: Address, port: int) -> bool:
        """Whether a name may resolve to this."""
        address = getattr(address, "ipv4_mapped", None) or address
        return (address.is_global and not address.is_multicast) or self.lists(address, port)

    def lists(self, address: Address, port: int) -> bool:
        """Whether the address itself is listed."""
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network and _matches(port, allowed) for network, allowed in self.networks)


class Proxy:
    """Serves HTTP and CONNECT on a unix socket, from `start` to `stop`."""

    def __init__(self, path: Path, patterns: Sequence[str]) -> None:
        self._path = path
        self._destinations = Destinations.of(patterns)
        self._connections = asyncio.Semaphore(CONNECTIONS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._accept, self._path, limit=HEAD_BYTES)
        self._path.chmod(0o600)

    async def stop(self) -> None:
        """End the connections and remove the socket."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self._connections:
            try:
                await self._pass_on(reader, writer)
            except Refused as refused:
                text = f"kernel-exec: {refused}\n".encode()
                head = (
                    f"HTTP/1.1 {refused.status}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
                )
                writer.write(head.encode() + text)
            except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                pass  # whoever asked is gone, or never asked
            finally:
                writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_SECONDS):
            head = (await reader.readuntil(END)).decode("latin-1")
        method, _, rest = head.partition(" ")
        target, _, rest = rest.partition(" ")
        connect = method == "CONNECT"
        url = _parsed(f"//{target}" if connect else target)
        if url.hostname is None or (not connect and url.scheme != "http"):
            raise Refused("400 Bad Request", "the proxy takes http:// addresses and CONNECT")
        port = url.port or HTTP_PORT
        to_reader, to_writer = await self._dial(url.hostname, port)
        try:
            if connect:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                to_writer.write(_request(method, url, rest))
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, to_writer))
                both.create_task(_copy(to_reader, writer))
        except* OSError:
            pass  # one of the two is gone
        finally:
            to_writer.close()

    async def _dial(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Resolve once and dial what was checked, so that a second answer of the DNS changes nothing."""
        if not self._destinations.allow_name(host, port):
            raise Refused("403 Forbidden", f"{host}:{port} is not in the setting network_allowed")
        found = []
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                loop = asyncio.get_running_loop()
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                for _, _, _, _, (address, *_) in found:
                    if self._destinations.allow_address(ipaddress.ip_address(address), port):
                        try:
                            return await asyncio.open_connection(str(address), port)
                        except OSError:
                            continue
        except (OSError, TimeoutError) as error:
            raise Refused("502 Bad Gateway", f"{host}:{port}: {str(error) or 'no answer in time'}") from error
        if not any(self._destinations.allow_address(ipaddress.ip_address(at[4][0]), port) for at in found):
            raise Refused(
                "403 Forbidden", f"{host} is at a private address, which network_allowed does not list"
            )
        raise Refused("502 Bad Gateway", f"{host}:{port} cannot be reached")


def proxy_variables() -> dict[str, str]:
    """The environment variables by which programs find the relay."""
    address = f"http://127.0.0.1:{PORT}"
    names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    local = "localhost,127.0.0.1,::1"
    return dict.fromkeys(names, address) | {"no_proxy": local, "NO_PROXY": local}


def _matches(port: int, pattern: str) -> bool:
    return pattern in ("*", str(port))


def _parsed(target: str) -> SplitResult:
    try:
        url = urlsplit(target)
        _ = url.port
    except ValueError as error:
        raise Refused("400 Bad Request", str(error)) from error
    return url


def _request(method: str, url: SplitResult, rest: str) -> bytes:
    """The head as the server itself expects it, for this one request."""
    version, *headers = rest.removesuffix("\r\n\r\n").split("\r\n")
    kept = [line for line in headers if not line.lower().startswith(HOP_HEADERS)]
    path = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
    return "\r\n".join([f"{method} {path} {version}", *kept, "Connection: close", "", ""]).encode("latin-1")


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(PIECE_BYTES):
        writer.write(piece)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
