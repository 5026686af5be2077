from kernel_exec.sessions.session import Session


async def test_state_persists_from_call_to_call(session: Session) -> None:
    assert (await session.execute("x = 41")).status == "ok"
    assert (await session.execute("x + 1")).text == "42"
