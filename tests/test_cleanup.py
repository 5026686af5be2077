import asyncio

import pytest

from kernel_exec.cleanup import finish


async def test_cleanup_is_done_to_its_end_however_often_its_caller_is_cancelled() -> None:
    begun, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def clean_up() -> None:
        begun.set()
        await go_on.wait()
        done.set()

    caller = asyncio.create_task(finish(clean_up()))
    await begun.wait()
    for _ in range(3):
        caller.cancel()
        await asyncio.sleep(0)
    assert not caller.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert done.is_set()


async def test_what_the_cleanup_gives_or_raises_reaches_its_caller() -> None:
    async def fail() -> None:
        raise ValueError("so")

    assert await finish(asyncio.sleep(0, "result")) == "result"
    with pytest.raises(ValueError, match="so"):
        await finish(fail())
