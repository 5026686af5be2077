"""Sessions as a whole, seen by an agent."""

import asyncio

from kernel_exec.runtime import Runtime
from tests.server.conftest import Connect, execution_of


async def test_an_interrupt_stops_the_code_and_keeps_variables(connect: Connect, runtime: Runtime) -> None:
    async with connect() as caller:
        await caller.run("x = 5")
        reply = await caller.call(
            "execute_code",
            code="import time\nwhile True: time.sleep(.1)",
            session=caller.session,
            wait_seconds=0,
        )
        reply = await caller.call("interrupt_session", session=caller.session)
        assert "interrupted" in reply
        assert await caller.run("x") == "5"


async def test_an_interrupt_of_an_idle_session_says_so(connect: Connect) -> None:
    async with connect() as caller:
        await caller.run("1")
        assert "Nothing runs" in await caller.call("interrupt_session", session=caller.session)


async def test_a_restart_loses_variables_and_keeps_history(connect: Connect) -> None:
    async with connect() as caller:
        execution = execution_of(await caller.call("execute_code", code="x = 5; x", session=caller.session))
        assert "variables are gone" in await caller.call("restart_session", session=caller.session)
        assert "NameError" in await caller.refused("execute_code", code="x", session=caller.session)
        assert (await caller.call("get_execution", execution=execution)).startswith("5\n")


async def test_a_closed_session_is_gone_and_its_name_is_free(connect: Connect) -> None:
    async with connect() as caller:
        await caller.run("x = 5")
        await caller.call("close_session", session=caller.session)
        assert caller.session not in await caller.call("list_sessions")
        assert "NameError" in await caller.refused("execute_code", code="x", session=caller.session)


async def test_sessions_are_listed_for_people_and_for_programs(connect: Connect) -> None:
    async with connect() as caller:
        await caller.run("1")
        result = await caller.result("list_sessions")
        assert result.structured_content is not None
        states = {state["name"]: state for state in result.structured_content["sessions"]}
        assert states[caller.session]["state"] == "idle"
        assert states[caller.session]["memory_bytes"] > 10_000_000
        assert caller.session in await caller.call("list_sessions")


async def test_variables_are_shown_while_the_kernel_is_busy(connect: Connect) -> None:
    async with connect() as caller:
        await caller.run("numbers = [1, 2, 3]; import time")
        code = "while True: time.sleep(.05)"
        await caller.call("execute_code", code=code, session=caller.session, wait_seconds=0)
        async with asyncio.timeout(20):
            shown = await caller.call("inspect_session", session=caller.session)
        assert "numbers" in shown
        assert "list" in shown
        await caller.call("interrupt_session", session=caller.session)


async def test_one_name_is_shown_in_detail(connect: Connect) -> None:
    async with connect() as caller:
        await caller.run('def area(width: float, height: float = 1.0) -> float:\n    """Of a rectangle."""')
        shown = await caller.call("inspect_session", session=caller.session, name="area")
        assert "width: float, height: float = 1.0" in shown
        assert "Of a rectangle." in shown


async def test_an_unknown_name_says_so(connect: Connect) -> None:
    async with connect() as caller:
        await caller.run("1")
        assert "nothing_here" in await caller.refused(
            "inspect_session", session=caller.session, name="nothing_here"
        )
