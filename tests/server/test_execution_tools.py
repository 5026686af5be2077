"""What an agent sees when it runs code."""

import asyncio
from typing import Any

import pytest
from mcp.types import ElicitRequestParams, ElicitResult

from kernel_exec.runtime import Runtime
from tests.server.conftest import Caller, Connect, execution_of, text_of


async def until(condition: Any) -> None:
    """Wait for a condition that another task brings about."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_the_first_call_needs_nothing_before_it(connect: Connect) -> None:
    async with connect() as caller:
        reply = await caller.call("execute_code", code="1+1", session=caller.session)
        assert reply.startswith("2\n\n[1] ok ")
        assert f"session {caller.session} · environment default" in reply


async def test_variables_persist_between_calls(connect: Connect) -> None:
    async with connect() as caller:
        await caller.run("x = 41")
        assert await caller.run("x + 1") == "42"


async def test_code_that_raises_is_an_error_with_the_users_frames(connect: Connect) -> None:
    async with connect() as caller:
        reply = await caller.refused("execute_code", code="def f():\n    1/0\nf()", session=caller.session)
        assert "ZeroDivisionError: division by zero" in reply
        assert "in f()" in reply
        assert "[1] error" in reply


async def test_the_reply_never_has_structured_content(connect: Connect) -> None:
    async with connect() as caller:
        result = await caller.result("execute_code", code="1", session=caller.session)
        assert result.structured_content is None


@pytest.mark.parametrize("code", ["", "# nothing", "\n\n"])
async def test_code_without_statements_is_fine(connect: Connect, code: str) -> None:
    async with connect() as caller:
        assert " ok " in await caller.call("execute_code", code=code, session=caller.session)


async def test_a_wrong_argument_name_is_refused_with_the_right_ones(connect: Connect) -> None:
    async with connect() as caller:
        reply = await caller.refused("execute_code", code="1", timeout=5)
        assert "no argument 'timeout'" in reply
        assert "timeout_seconds" in reply


async def test_a_bad_argument_is_named_with_its_value(connect: Connect) -> None:
    async with connect() as caller:
        reply = await caller.refused("execute_code", code="1", timeout_seconds=-3)
        assert "timeout_seconds" in reply
        assert "-3" in reply


async def test_an_unknown_tool_names_the_known_ones(connect: Connect) -> None:
    async with connect() as caller:
        assert "execute_code" in await caller.refused("run_python")


async def test_an_unknown_execution_names_recent_ones(connect: Connect) -> None:
    async with connect() as caller:
        execution = execution_of(await caller.call("execute_code", code="1", session=caller.session))
        for unknown in ("e999999999", "nonsense", ""):
            assert execution in await caller.refused("get_execution", execution=unknown)


async def test_an_unknown_session_names_the_open_ones(connect: Connect) -> None:
    async with connect() as caller:
        await caller.run("1")
        assert caller.session in await caller.refused("interrupt_session", session="nobody")


async def test_an_unknown_environment_names_the_known_ones(connect: Connect) -> None:
    async with connect() as caller:
        reply = await caller.refused("execute_code", code="1", session=caller.session, environment="nowhere")
        assert "'default'" in reply


async def test_a_session_stays_in_its_environment(connect: Connect) -> None:
    async with connect() as caller:
        await caller.run("1")
        reply = await caller.refused("execute_code", code="1", session=caller.session, environment="other")
        assert "runs in environment 'default'" in reply


async def test_a_long_output_is_clipped_and_the_rest_can_be_read(connect: Connect) -> None:
    async with connect() as caller:
        reply = await caller.call("execute_code", code="print('x' * 30_000)", session=caller.session)
        assert len(reply) < 10_500
        assert "left out" in reply
        execution = execution_of(reply)
        rest = await caller.call("get_execution", execution=execution, offset=29_000)
        assert rest.split("\n")[0] == "x" * 1_000


async def test_a_long_run_answers_before_its_end_and_can_be_waited_for(connect: Connect) -> None:
    async with connect() as caller:
        code = "import time\nprint('begun', flush=True)\ntime.sleep(1)\nprint('done')"
        reply = await caller.call("execute_code", code=code, session=caller.session, wait_seconds=0)
        assert "running" in reply or "queued" in reply
        assert "get_execution" in reply
        reply = await caller.call("get_execution", execution=execution_of(reply), wait_seconds=30)
        assert reply.startswith("begun\ndone\n\n[1] ok")


async def test_a_result_outlives_the_client_that_asked(connect: Connect) -> None:
    async with connect() as first:
        reply = await first.call("execute_code", code="6*7", session="outlives", wait_seconds=0)
    async with connect() as second:
        assert "42" in await second.call("get_execution", execution=execution_of(reply), wait_seconds=30)
        await second.call("close_session", session="outlives")
        assert "42" in await second.call("get_execution", execution=execution_of(reply))


async def test_a_timeout_says_what_it_did_and_keeps_variables(connect: Connect) -> None:
    async with connect() as caller:
        await caller.run("x = 1")
        code = "print('so far')\nwhile True: pass"
        reply = await caller.refused("execute_code", code=code, session=caller.session, timeout_seconds=0.5)
        assert reply.startswith("so far\n")
        assert "timeout" in reply
        assert "Variables are kept" in reply
        assert await caller.run("x") == "1"


async def test_a_cancelled_call_interrupts_the_code_but_keeps_variables(
    connect: Connect, runtime: Runtime
) -> None:
    async with connect() as caller:
        await caller.run("x = 42")
        call = asyncio.create_task(caller.run("while True: pass"))
        session = runtime.sessions.get(caller.session)
        await until(lambda: session.executing)
        call.cancel()
        async with asyncio.timeout(20):
            assert await caller.run("x") == "42"


async def test_a_cancelled_call_that_waits_never_runs(connect: Connect, runtime: Runtime) -> None:
    async with connect() as caller:
        await caller.run("import time; ran = False")
        first = asyncio.create_task(caller.run("time.sleep(1)"))
        session = runtime.sessions.get(caller.session)
        await until(lambda: session.executing)
        second = asyncio.create_task(caller.run("ran = True"))
        await until(lambda: session.queued)
        second.cancel()
        await until(lambda: not session.queued)
        await first
        assert await caller.run("ran") == "False"


async def test_progress_is_reported_while_code_runs(runtime: Runtime, connect: Connect) -> None:
    seen: list[str | None] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(message)

    async with connect() as caller:
        code = "import time\nprint('step 1', flush=True)\nwhile True: time.sleep(.1)"
        call = asyncio.create_task(
            caller.client.call_tool(
                "execute_code", {"code": code, "session": caller.session}, progress_callback=on_progress
            )
        )
        await until(lambda: any(message and "step 1" in message for message in seen))
        await caller.call("interrupt_session", session=caller.session)
        assert "interrupted" in text_of(await call)


async def test_inputs_answer_input_in_turn(connect: Connect) -> None:
    async with connect() as caller:
        assert await caller.run("input('a? ') + input('b? ')", inputs=["x", "y"]) == "'xy'"


async def test_without_a_user_to_ask_the_reply_says_how_to_answer(connect: Connect) -> None:
    async with connect() as caller:
        reply = await caller.call("execute_code", code="name = input('Name? ')", session=caller.session)
        assert "Name?" in reply
        execution = execution_of(reply)
        assert f'send_input("{execution}"' in reply
        assert " ok " in await caller.call("send_input", execution=execution, text="Ada")
        assert await caller.run("name") == "'Ada'"
        assert "does not wait for input" in await caller.refused("send_input", execution=execution, text="x")


async def ask_user(answers: list[ElicitResult], asked: list[str], *_: Any) -> Any:
    """An elicitation callback that gives prepared answers."""

    async def callback(context: Any, params: ElicitRequestParams) -> ElicitResult:
        asked.append(params.message)
        return answers.pop(0)

    return callback


async def test_a_client_that_can_ask_its_user_is_asked_and_the_code_runs_once(connect: Connect) -> None:
    asked: list[str] = []
    answers = [ElicitResult(action="accept", content={"value": value}) for value in ("Ada", "36")]
    callback = await ask_user(answers, asked)
    async with connect(elicitation_callback=callback) as caller:
        await caller.run("runs = 0")
        reply = await caller.call(
            "execute_code",
            code="runs += 1\nname = input('Name? ')\nage = input('Age? ')\n(name, age, runs)",
            session=caller.session,
        )
        assert reply.startswith("('Ada', '36', 1)")
        assert asked == ["Name? ", "Age? "]


async def test_a_user_who_declines_interrupts_the_code(connect: Connect) -> None:
    callback = await ask_user([ElicitResult(action="decline")], [])
    async with connect(elicitation_callback=callback) as caller:
        reply = await caller.refused("execute_code", code="input('Name? ')", session=caller.session)
        assert "interrupted" in reply
        assert await caller.run("1") == "1"


async def test_a_password_is_not_asked_for_in_a_form(connect: Connect) -> None:
    asked: list[str] = []
    callback = await ask_user([], asked)
    async with connect(elicitation_callback=callback) as caller:
        code = "import getpass; secret = getpass.getpass('Key? ')"
        reply = await caller.call("execute_code", code=code, session=caller.session)
        assert asked == []
        assert "waiting for input" in reply
        await caller.call("send_input", execution=execution_of(reply), text="s3cret")
        assert await caller.run("len(secret)") == "6"


async def test_images_come_after_the_text_and_whole_as_resources(connect: Connect) -> None:
    png = (
        "import base64, struct, zlib\n"
        "from IPython.display import Image, display\n"
        "raw = b''.join(b'\\0' + bytes(3 * 8) for _ in range(8))\n"
        "def chunk(kind, data):\n"
        "    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))\n"
        "head = struct.pack('>IIBBBBB', 8, 8, 8, 2, 0, 0, 0)\n"
        "png = b'\\x89PNG\\r\\n\\x1a\\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(raw)) + chunk(b'IEND', b'')\n"
        "print('before'); display(Image(png))"
    )
    async with connect() as caller:
        result = await caller.result("execute_code", code=png, session=caller.session)
        assert [block.type for block in result.content][:2] == ["text", "image"]
        execution = execution_of(text_of(result))
        whole = await caller.client.read_resource(f"kernel-exec://executions/{execution}/outputs/1")
        assert whole.contents[0].mime_type == "image/png"


async def test_200_calls_in_a_row_give_the_right_results(connect: Connect) -> None:
    async with connect() as caller:
        await caller.run("n = 0")
        for expected in range(1, 201):
            assert await caller.run("n += 1; n") == str(expected)


@pytest.mark.slow
async def test_8_sessions_at_once_do_not_cross(connect: Connect) -> None:
    async def work(caller: Caller, session: str) -> None:
        for number in range(20):
            code = f"print('{session}', {number})"
            reply = await caller.call("execute_code", code=code, session=session)
            assert reply.startswith(f"{session} {number}\n")
        await caller.call("close_session", session=session)

    async with connect() as caller:
        await asyncio.gather(*(work(caller, f"many{number}") for number in range(8)))
