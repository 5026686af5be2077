import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from kernel_exec.errors import KernelStartFailed
from kernel_exec.kernels import Kernel, KernelEnded, Kernels, Message
from kernel_exec.runtime import Runtime
from kernel_exec.settings import Settings
from tests.conftest import eventually


@pytest_asyncio.fixture(scope="module")
async def kernels(settings: Settings, home: Path) -> AsyncIterator[Kernels]:
    directory = home.parent / "k"
    directory.mkdir(mode=0o700)
    kernels = Kernels(settings, directory, "test")
    yield kernels
    kernels.close()
    assert list(directory.iterdir()) == []  # no connection file, no socket, no log


@pytest_asyncio.fixture(scope="module")
async def kernel(kernels: Kernels, runtime: Runtime, settings: Settings) -> AsyncIterator[Kernel]:
    environment = runtime.environments.get(settings.default_environment)
    started: asyncio.Future[Kernel] = asyncio.get_running_loop().create_future()
    leave = asyncio.Event()

    async def own() -> None:
        async with kernels.run(environment, settings.workspace) as kernel:
            started.set_result(kernel)
            await leave.wait()

    owner = asyncio.create_task(own())
    yield await started
    leave.set()
    await owner


async def test_a_kernel_tells_what_it_is(kernel: Kernel) -> None:
    assert kernel.info["language_info"]["name"] == "python"
    assert kernel.supports_subshells
    assert kernel.memory_bytes
    usage = await kernel.usage()
    assert usage is not None
    assert (usage.processes, usage.cpu_seconds > 0) == (1, True)


async def test_messages_reach_the_execution_that_caused_them_and_no_other(kernel: Kernel) -> None:
    heard: dict[int, list[Message]] = {number: [] for number in range(20)}
    requests = [kernel.execute(f"print({n}); {n} * 2", on_output=heard[n].append) for n in heard]
    replies = [await request.finished() for request in requests]
    assert {reply["status"] for reply in replies} == {"ok"}
    for number, messages in heard.items():
        kinds = {message["header"]["msg_type"]: message["content"] for message in messages}
        printed = [one["content"]["text"] for one in messages if one["header"]["msg_type"] == "stream"]
        assert "".join(printed) == f"{number}\n"
        assert kinds["execute_result"]["data"]["text/plain"] == str(number * 2)


async def test_evaluate_leaves_no_trace(kernel: Kernel) -> None:
    await kernel.execute("a = [1, 2]", on_output=lambda message: None).finished()
    before = await kernel.execute("0", on_output=lambda message: None).finished()
    assert await kernel.evaluate("a + [3]", timeout_seconds=20) == "[1, 2, 3]"
    with pytest.raises(ValueError, match="ZeroDivisionError: division by zero"):
        await kernel.evaluate("1 / 0", timeout_seconds=20)
    after = await kernel.execute("0", on_output=lambda message: None).finished()
    assert after["execution_count"] == before["execution_count"] + 1


async def test_evaluate_aside_answers_while_code_runs(kernel: Kernel) -> None:
    running = kernel.execute("b = 5\nwhile b: pass", on_output=lambda message: None)
    await asyncio.wait({running.begun}, timeout=20)
    for _ in range(3):
        assert await kernel.evaluate("b + 1", timeout_seconds=20, aside=True) == "6"
    await kernel.interrupt()
    assert (await running.finished())["status"] == "error"


def is_stream(message: Message) -> bool:
    return message["header"]["msg_type"] == "stream"


async def test_evaluate_aside_is_bounded_and_harms_nothing_while_the_gil_is_held(kernel: Kernel) -> None:
    code = "import re; print('begun', flush=True); re.match(r'(a|a)*$', 'a' * 22 + 'b')"  # some seconds in C
    begun = asyncio.Event()
    running = kernel.execute(code, on_output=lambda message: begun.set() if is_stream(message) else None)
    await begun.wait()
    with pytest.raises(TimeoutError):
        await kernel.evaluate("1", timeout_seconds=0.01, aside=True)
    assert (await running.finished())["status"] == "ok"
    assert await kernel.evaluate("1 + 1", timeout_seconds=20, aside=True) == "2"


async def test_an_evaluation_that_hangs_aside_blocks_neither_the_next_nor_the_code(kernel: Kernel) -> None:
    await kernel.execute("import time", on_output=lambda message: None).finished()
    with pytest.raises(TimeoutError):
        await kernel.evaluate("time.sleep(3)", timeout_seconds=0.2, aside=True)
    assert await kernel.evaluate("2", timeout_seconds=20, aside=True) == "2"
    assert (await kernel.execute("3", on_output=lambda message: None).finished())["status"] == "ok"


async def test_interrupting_an_idle_kernel_does_nothing(kernel: Kernel) -> None:
    await kernel.interrupt()
    assert await kernel.evaluate("1", timeout_seconds=20) == "1"


async def test_nothing_of_ours_is_in_the_users_namespace_or_environment(kernel: Kernel) -> None:
    names = await kernel.evaluate(
        "[n for n in globals() if 'kernel' in n or 'prepare' in n]", timeout_seconds=20
    )
    assert names == "[]"
    assert await kernel.evaluate(
        "[n for n in __import__('os').environ if n.startswith('KERNEL_EXEC_')]", timeout_seconds=20
    ) == ("[]")


@pytest.mark.parametrize("how", ["kill", "death", "leave"])
async def test_however_a_kernel_ends_whoever_waits_is_told(
    kernels: Kernels, runtime: Runtime, settings: Settings, how: str
) -> None:
    environment = runtime.environments.get(settings.default_environment)
    async with kernels.run(environment, settings.workspace) as kernel:
        request = kernel.execute("import time; time.sleep(600)", on_output=lambda message: None)
        waiting = asyncio.create_task(request.finished())
        assert kernel.pid is not None
        if how == "kill":
            await kernel.kill()
        elif how == "death":
            os.kill(kernel.pid, signal.SIGTERM)
        if how != "leave":
            with pytest.raises(KernelEnded):
                await waiting
            assert kernel.ended.done()
            with pytest.raises(KernelEnded):
                await kernel.execute("1", on_output=lambda message: None).finished()
    if how == "leave":  # interrupted, then shut down: the reply comes before the end, or no more
        (told,) = await asyncio.gather(waiting, return_exceptions=True)
        assert isinstance(told, KernelEnded) or told["status"] == "error"
    assert not psutil.pid_exists(kernel.pid)


async def test_a_start_that_fails_says_what_the_process_wrote(
    kernels: Kernels, runtime: Runtime, settings: Settings
) -> None:
    environment = runtime.environments.get(settings.default_environment)
    spec = settings.home / "jupyter" / "kernels" / environment.name / "kernel.json"
    text = spec.read_text()
    try:
        spec.write_text(text.replace('"-m"', '"-c"').replace("ipykernel_launcher", "exit('no kernel here')"))
        with pytest.raises(KernelStartFailed, match=r"exited with code 1(.|\n)*no kernel here"):
            async with kernels.run(environment, settings.workspace):
                pass
    finally:
        spec.write_text(text)


async def test_a_start_that_hangs_is_ended_at_its_limit(
    runtime: Runtime, settings: Settings, home: Path
) -> None:
    environment = runtime.environments.get(settings.default_environment)
    directory = home.parent / "slow"
    directory.mkdir()
    kernels = Kernels(settings.model_copy(update={"kernel_start_seconds": 0.05}), directory, "slow")
    with pytest.raises(KernelStartFailed, match="kernel_start_seconds"):
        async with kernels.run(environment, settings.workspace):
            pass
    kernels.close()
    await eventually(lambda: not list(directory.iterdir()))
