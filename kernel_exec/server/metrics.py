"""What is measured, as text for Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/"""

import hmac
from collections.abc import Iterable

import psutil
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from kernel_exec.runtime import Runtime
from kernel_exec.server.boundary import KernelExecServer

__all__ = ["add_metrics", "metrics"]

PATH = "/metrics"
LABELS = ("session", "environment", "principal")
# Of each session: the name, what it is, whether it only grows, and the attribute that has it.
OF_SESSIONS = (
    ("memory_bytes", "Memory of the session's processes", False, "memory_bytes"),
    ("cpu_seconds", "CPU time, since its kernel started", True, "cpu_seconds"),
    ("processes", "Processes", False, "processes"),
    ("threads", "Threads", False, "threads"),
    ("read_bytes", "Read from disks, since its kernel started", True, "read_bytes"),
    ("written_bytes", "Written to disks, since its kernel started", True, "written_bytes"),
)


class _Collector:
    def __init__(self, owner: Runtime) -> None:
        self._owner = owner

    def collect(self) -> Iterable[Metric]:
        """The sessions as they were last measured, and this server's executions as the history has them."""
        sessions = self._owner.sessions.list(None)
        yield GaugeMetricFamily("kernel_exec_sessions", "Open sessions", value=len(sessions))
        queued = GaugeMetricFamily("kernel_exec_session_queue", "Executions that wait", labels=LABELS)
        running = GaugeMetricFamily("kernel_exec_session_busy", "1 while code runs", labels=LABELS)
        for session in sessions:
            names = [session.name, session.environment, session.principal]
            queued.add_metric(names, session.queued)
            running.add_metric(names, float(session.executing))
        yield from (queued, running)
        for name, what, grows, attribute in OF_SESSIONS:
            family = (CounterMetricFamily if grows else GaugeMetricFamily)(
                f"kernel_exec_session_{name}", what, labels=LABELS
            )
            for session in sessions:
                usage = session.kernel.watched.fresh if session.kernel is not None else None
                if usage is not None:
                    names = [session.name, session.environment, session.principal]
                    family.add_metric(names, getattr(usage, attribute))
            yield family
        yield from self._executions()
        memory = psutil.Process().memory_info().rss
        yield GaugeMetricFamily("kernel_exec_server_memory_bytes", "Memory of the server", value=memory)

    def _executions(self) -> Iterable[Metric]:
        count = CounterMetricFamily("kernel_exec_executions", "Executions that ended", labels=["status"])
        took = CounterMetricFamily("kernel_exec_execution_seconds", "Time they took", labels=["status"])
        cpu = CounterMetricFamily("kernel_exec_execution_cpu_seconds", "Their CPU time", labels=["status"])
        for total in self._owner.history.totals(self._owner.sessions.server):
            count.add_metric([total.status], total.count)
            took.add_metric([total.status], total.seconds)
            cpu.add_metric([total.status], total.cpu_seconds)
        yield from (count, took, cpu)


def metrics(owner: Runtime) -> bytes:
    """All of it, as text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(owner))
    return generate_latest(registry)


def add_metrics(server: KernelExecServer, owner: Runtime, token: str) -> None:
    """Answer `GET /metrics`, for the bearer of the token only."""
    expected = f"Bearer {token}".encode()

    async def answer(request: Request) -> Response:
        given = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, expected):
            return Response(status_code=401, headers={"WWW-Authenticate": "Bearer"})
        return Response(metrics(owner), media_type=CONTENT_TYPE_LATEST)

    server.custom_route(PATH, methods=["GET"])(answer)
