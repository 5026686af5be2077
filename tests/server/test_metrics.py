"""What is told to Prometheus."""

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from kernel_exec.runtime import Runtime
from kernel_exec.server.metrics import metrics
from tests.conftest import OpenSession, eventually
from tests.server.test_http import Served, served

__all__ = ["served"]


def values(text: str) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("session", sample.labels.get("status", ""))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_sessions_and_executions_are_told(runtime: Runtime, open_session: OpenSession) -> None:
    session = await open_session()
    await session.execute("1 / 0")
    await eventually(lambda: session.kernel is not None and session.kernel.watched.readings)
    found = values(metrics(runtime).decode())
    assert found["kernel_exec_sessions", ""] == len(runtime.sessions.list(None))
    assert found["kernel_exec_session_memory_bytes", session.name] > 10 << 20
    assert found["kernel_exec_session_cpu_seconds_total", session.name] > 0
    assert found["kernel_exec_session_busy", session.name] == 0
    assert found["kernel_exec_executions_total", "error"] >= 1
    assert found["kernel_exec_execution_seconds_total", "error"] > 0


async def test_they_are_served_to_the_bearer_of_the_token_only(served: Served) -> None:
    url = served.url.replace("/mcp", "/metrics")
    async with httpx2.AsyncClient() as http:
        assert (await http.get(url)).status_code == 401
        assert (await http.get(url, headers={"Authorization": "Bearer wrong"})).status_code == 401
        reply = await http.get(url, headers={"Authorization": f"Bearer {served.token}"})
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/plain")
    assert values(reply.text)["kernel_exec_server_memory_bytes", ""] > 0
