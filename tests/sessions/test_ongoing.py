"""Input: `input()`, `getpass()` and the debugger."""

import asyncio
import sys
from pathlib import Path

import pytest

from kernel_exec.errors import NotWaitingForInput
from kernel_exec.processes import run
from kernel_exec.sessions.ongoing import OngoingExecution
from kernel_exec.sessions.session import Session
from tests.conftest import eventually


async def asked(session: Session, code: str, **how: object) -> OngoingExecution:
    ongoing = session.submit(code, **how)  # type: ignore[arg-type]
    await eventually(lambda: ongoing.asked)
    return ongoing


async def test_inputs_are_given_in_turn(session: Session) -> None:
    code = "from getpass import getpass\nprint(input('a? '), getpass('b? '), input())"
    assert (await session.execute(code, inputs=["one", "two", "three"])).text == "one two three\n"


async def test_code_that_waits_says_so_and_goes_on_with_the_answer(session: Session) -> None:
    ongoing = await asked(session, "print('hello', input('Your name? '))")
    execution = session.snapshot(ongoing)
    assert (execution.status, execution.prompt) == ("waiting_for_input", "Your name? ")
    assert (await session.state()).state == "waiting_for_input"
    session.send_input(ongoing, "Eve \N{SNOWMAN}")
    await ongoing.finished.wait()
    assert session.snapshot(ongoing).text == "hello Eve \N{SNOWMAN}\n"
    with pytest.raises(NotWaitingForInput, match="'ok'"):
        session.send_input(ongoing, "again")


async def test_without_a_way_to_ask_input_raises(session: Session) -> None:
    execution = await session.execute("input('? ')")
    assert execution.status == "error"
    assert execution.error is not None
    assert execution.error.name == "StdinNotImplementedError"


async def test_inputs_that_run_out_wait_for_more(session: Session) -> None:
    ongoing = await asked(session, "print(input() + input())", inputs=["a"])
    session.send_input(ongoing, "b")
    await ongoing.finished.wait()
    assert session.snapshot(ongoing).text == "ab\n"


async def test_a_password_is_written_nowhere(session: Session, home: Path) -> None:
    ongoing = await asked(session, "from getpass import getpass\nsecret = getpass('Password: ')")
    assert ongoing.asked is not None
    assert ongoing.asked.password
    session.send_input(ongoing, "xyzzy-plugh-1")
    await ongoing.finished.wait()
    await session.execute("import getpass; two = getpass.getpass()", inputs=["xyzzy-plugh-2"])
    assert (await session.execute("len(secret), len(two)")).text == "(13, 13)"
    written = [path for path in home.rglob("*") if path.is_file() and "environments" not in path.parts]
    assert any(path.name == "state.db" for path in written)
    # Read by another process: to close a file of the database here would drop the locks that SQLite has on
    # it, and with them the database. https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks
    reader = (
        "import sys; from pathlib import Path\n"
        "print(*(name for name in sys.argv[1:] if b'xyzzy-plugh' in Path(name).read_bytes()))"
    )
    done = await run([sys.executable, "-c", reader, *written], timeout_seconds=60)
    assert (done.returncode, done.output) == (0, "\n")


async def test_the_debugger_works_through_input(session: Session) -> None:
    code = "def f(x):\n    import pdb; pdb.set_trace()\n    return x * 2\nf(21)"
    ongoing = await asked(session, code)
    for command in ("p x", "x = 4", "c"):
        await eventually(lambda: ongoing.asked)
        session.send_input(ongoing, command)
    await ongoing.finished.wait()
    execution = session.snapshot(ongoing)
    assert execution.status == "ok"
    assert "21\n" in execution.text
    assert execution.text.endswith("8")


async def test_input_that_nobody_answers_ends_with_the_timeout(session: Session) -> None:
    ongoing = session.submit("kept = 9\ninput('? ')", timeout_seconds=0.3)
    async with asyncio.timeout(30):
        await ongoing.finished.wait()
    assert session.snapshot(ongoing).status == "timeout"
    assert (await session.execute("kept")).text == "9"


async def test_an_interrupt_ends_the_waiting(session: Session) -> None:
    ongoing = await asked(session, "input('? ')")
    await session.interrupt()
    assert session.snapshot(ongoing).status == "interrupted"
    assert (await session.execute("input()", inputs=["fresh"])).text == "'fresh'"


async def test_a_caller_that_stops_waiting_leaves_the_code_running(session: Session) -> None:
    ongoing = session.submit("import time; time.sleep(0.3); 'done'")
    waiting = asyncio.create_task(ongoing.wait())
    await ongoing.wait(0)
    await eventually(lambda: session.executing)
    waiting.cancel()
    await ongoing.wait()
    assert session.snapshot(ongoing).text == "'done'"
