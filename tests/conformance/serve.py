"""The real HTTP server with the fixtures of the conformance scenarios registered on it."""

from typing import Any

from kernel_exec.server import app, http
from kernel_exec.server.boundary import KernelExecServer
from kernel_exec.server.logs import configure_logging
from kernel_exec.settings import Settings, load_settings
from tests.conformance.fixtures import add_fixtures


def create_server(settings: Settings, **options: Any) -> KernelExecServer:
    """The server of the package, with the fixtures."""
    server = app.create_server(settings, **options)
    add_fixtures(server)
    return server


if __name__ == "__main__":
    http.create_server = create_server  # type: ignore[attr-defined]
    settings = load_settings(port=0)
    configure_logging(settings)
    http.serve_http(settings)
