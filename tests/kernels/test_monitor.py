import asyncio
import subprocess
import sys
import time

import pytest

from kernel_exec.kernels.launch import MARKER
from kernel_exec.kernels.monitor import Members
from kernel_exec.runtime import Runtime
from kernel_exec.server.content.status import status_text
from kernel_exec.sessions.notebook import session_notebook
from tests.conftest import OpenSession, eventually


@pytest.mark.slow
async def test_a_session_is_measured_every_second_with_its_children(open_session: OpenSession) -> None:
    session = await open_session()
    assert session.kernel is not None
    watched = session.kernel.watched
    await eventually(lambda: len(watched.readings) > 1)
    code = "import subprocess, time\nchild = subprocess.Popen(['sleep', '60'])\nx = bytearray(100 << 20)"
    await session.execute(code)
    count = len(watched.readings)
    await eventually(lambda: len(watched.readings) > count + 1)
    first, *_, before, last = watched.readings
    assert last.processes == first.processes + 1
    assert last.memory_bytes > first.memory_bytes + (80 << 20)
    assert 0.5 < last.at - before.at < 5
    state = await session.state()
    assert (state.processes, state.memory_bytes) == (last.processes, last.memory_bytes)
    await session.execute("child.kill()")


async def test_an_execution_says_what_it_took_and_its_cell_in_a_notebook_too(
    open_session: OpenSession, runtime: Runtime
) -> None:
    session = await open_session()
    await session.execute("import time")
    code = (
        "x = bytearray(200 << 20); del x\n"
        "end = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"
        "open('written', 'wb').write(bytes(5 << 20))"
    )
    execution = await session.execute(code)
    (runtime.settings.workspace / "written").unlink()
    spent = execution.spent
    assert spent.cpu_seconds is not None
    assert 0.25 < spent.cpu_seconds < 5
    if sys.platform == "linux":
        assert spent.peak_memory_bytes is not None
        assert execution.memory_bytes is not None
        assert spent.peak_memory_bytes > execution.memory_bytes + (150 << 20)
        assert " MiB (peak " in status_text(execution, 0, 1000)
        small = await session.execute("1")
        assert (small.spent.peak_memory_bytes or 0) < spent.peak_memory_bytes - (150 << 20)
    notebook = await session_notebook(runtime.history, session.record)
    told = notebook.cells[1].metadata.kernel_exec
    assert (told.cpu_seconds, told.peak_memory_bytes) == (spent.cpu_seconds, spent.peak_memory_bytes)
    assert told.seconds > 0.3


def test_processes_are_found_by_the_marker_of_their_kernel_also_when_a_child_hides_it() -> None:
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'], env={})"
    with subprocess.Popen(
        [sys.executable, "-c", program], env={MARKER: "s-1"}, stdin=subprocess.PIPE
    ) as process:
        members = Members(MARKER)
        deadline = time.monotonic() + 20
        while len(members.find().get("s-1", ())) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.communicate(b"\n")
    assert "s-1" not in members.find()


async def test_an_execution_is_a_span_where_the_call_that_asked_for_it_is(open_session: OpenSession) -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    session = await open_session()
    with provider.get_tracer("test").start_as_current_span("call") as call:
        execution = await session.execute("1 / 0")
    await asyncio.sleep(0)
    (span,) = [one for one in exporter.get_finished_spans() if one.name == "execute"]
    assert span.parent.span_id == call.get_span_context().span_id
    assert span.attributes["kernel_exec.execution"] == execution.id
    assert span.attributes["kernel_exec.status"] == "error"
    assert span.attributes["kernel_exec.peak_memory_bytes"] > 0
    assert not span.status.is_ok
