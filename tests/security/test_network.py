"""The allow-list: what is listed can be reached through the proxy, and nothing else in any way."""

import asyncio
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import pytest_asyncio

from kernel_exec.errors import IsolationUnavailable
from kernel_exec.kernels.provisioners.network import Destinations
from kernel_exec.runtime import Runtime, open_runtime
from kernel_exec.settings import load_settings
from tests.security.conftest import SETTINGS, World

FETCH = """
import urllib.request, urllib.error, ssl
def fetch(url):
    context = ssl._create_unverified_context()
    https = urllib.request.HTTPSHandler(context=context)
    opener = urllib.request.build_opener(https, urllib.request.ProxyHandler())
    try:
        return opener.open(url, timeout=10).read().decode()
    except urllib.error.HTTPError as error:
        return f"{error.code}: {error.read().decode()}"
    except OSError as error:
        return f"{error}"
import os
for name in ("no_proxy", "NO_PROXY"):
    os.environ.pop(name)
"""


class Hello(BaseHTTPRequestHandler):
    """Tells what it was asked for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        text = f"hello {self.path} {sorted(name.lower() for name in self.headers)}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """Ports of local servers: HTTP, HTTPS, and one that is not listed."""
    directory = tmp_path_factory.mktemp("certificate")
    key, certificate = directory / "key", directory / "certificate"
    line = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    made = subprocess.run([*line.split(), "-keyout", key, "-out", certificate], capture_output=True)
    assert made.returncode == 0, made.stderr
    servers = {name: ThreadingHTTPServer(("127.0.0.1", 0), Hello) for name in ("http", "https", "unlisted")}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    servers["https"].socket = context.wrap_socket(servers["https"].socket, server_side=True)
    for server in servers.values():
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {name: server.server_address[1] for name, server in servers.items()}
    for server in servers.values():
        server.shutdown()
        server.server_close()


@pytest_asyncio.fixture(
    scope="module",
    params=[pytest.param(level, marks=pytest.mark.slow) for level in ("bubblewrap", "container")],
)
async def runtime(
    request: pytest.FixtureRequest, world: World, environment: None, services: dict[str, int]
) -> AsyncIterator[Runtime]:
    listed = [f"127.0.0.1:{services[name]}" for name in ("http", "https")]
    how = SETTINGS[request.param] | {"network": "allow-list"}
    allowed = (*listed, f"localhost:{services['http']}", f"localhost:{services['unlisted']}")
    settings = load_settings(home=world.home, workspace=world.workspace, **how, network_allowed=allowed)
    async with open_runtime(settings) as runtime:
        try:
            session = await runtime.sessions.open("main")
        except IsolationUnavailable as error:
            pytest.skip(str(error))
        await session.execute(FETCH)
        yield runtime


async def fetch(runtime: Runtime, url: str) -> str:
    return (await runtime.sessions.get("main").execute(f"print(fetch({url!r}))")).text.strip()


async def test_a_listed_destination_answers_over_http(runtime: Runtime, services: dict[str, int]) -> None:
    answer = await fetch(runtime, f"http://127.0.0.1:{services['http']}/a?b=c")
    assert answer.startswith("hello /a?b=c")
    assert "proxy" not in answer


async def test_a_listed_destination_answers_over_https(runtime: Runtime, services: dict[str, int]) -> None:
    assert (await fetch(runtime, f"https://127.0.0.1:{services['https']}/x")).startswith("hello /x")


async def test_a_listed_name_may_resolve_to_a_listed_address(
    runtime: Runtime, services: dict[str, int]
) -> None:
    assert (await fetch(runtime, f"http://localhost:{services['http']}/n")).startswith("hello /n")


async def test_a_listed_name_may_not_lead_into_the_hosts_network(
    runtime: Runtime, services: dict[str, int]
) -> None:
    answer = await fetch(runtime, f"http://localhost:{services['unlisted']}/")
    assert answer.startswith("403") and "private address" in answer


async def test_what_is_not_listed_is_refused_with_the_settings_name(
    runtime: Runtime, services: dict[str, int]
) -> None:
    for scheme in ("http", "https"):
        assert "403" in await fetch(runtime, f"{scheme}://127.0.0.1:{services['unlisted']}/")
    assert "network_allowed" in await fetch(runtime, "http://example.invalid/")


async def test_there_is_no_way_around_the_proxy(runtime: Runtime, services: dict[str, int]) -> None:
    session = runtime.sessions.get("main")
    for code in (
        f"import socket; socket.create_connection(('127.0.0.1', {services['http']}), 5)",
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 53))",
        "import socket; socket.getaddrinfo('example.org', 80)",
    ):
        assert (await session.execute(code)).status == "error"


async def test_the_proxy_ends_with_the_session(runtime: Runtime) -> None:
    session = await runtime.sessions.open("short")
    assert session.kernel is not None
    socket = Path(session.kernel._manager.connection_file).with_name("p")
    assert socket.is_socket()
    await runtime.sessions.close("short")
    assert not socket.exists()
    assert not [task for task in asyncio.all_tasks() if "Proxy" in str(task.get_coro())]


def test_patterns_match_names_addresses_and_networks() -> None:
    listed = Destinations.of(["pypi.org:443", "*.example.org:*", "10.0.0.0/8:80", "[::1]:5000"])
    allowed = [
        ("pypi.org", 443),
        ("PyPI.org.", 443),
        ("a.b.example.org", 22),
        ("10.1.2.3", 80),
        ("::1", 5000),
    ]
    refused = [("pypi.org", 80), ("example.org", 443), ("xpypi.org", 443), ("10.1.2.3", 81), ("1.1.1.1", 443)]
    assert [one for one in allowed if not listed.allow_name(*one)] == []
    assert [one for one in refused if listed.allow_name(*one)] == []
