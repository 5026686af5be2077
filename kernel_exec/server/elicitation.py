"""Ask the client's user for a line of input, in both protocol eras."""

from mcp.types import ElicitRequest, ElicitRequestFormParams, InputRequiredResult
from pydantic import BaseModel, Field

from kernel_exec.server.calls import ToolContext
from kernel_exec.sessions.ongoing import OngoingExecution
from kernel_exec.sessions.session import Session

__all__ = ["ask", "can_ask", "take_answer"]

# The first protocol version in which a server asks by ending the call, not by a request of its own.
MULTI_ROUND_TRIP = "2026-07-28"


class Line(BaseModel):
    """The answer to one `input()`."""

    value: str = Field(description="The line that the code waits for")


def can_ask(ctx: ToolContext) -> bool:
    """Whether the client says that it can ask its user."""
    return ctx.client_capabilities is not None and ctx.client_capabilities.elicitation is not None


async def ask(ctx: ToolContext, session: Session, ongoing: OngoingExecution) -> InputRequiredResult | None:
    """Have the prompt answered; the code is interrupted when the user declines.

    Returns what must be sent to the client when the answer comes with its next call (see
    `take_answer`); None when the answer has been given to the code.
    """
    assert ongoing.asked is not None
    prompt = ongoing.asked.prompt or "The code waits for a line of input."
    if (ctx.protocol_version or "") >= MULTI_ROUND_TRIP:
        form = ElicitRequestFormParams(message=prompt, requested_schema=Line.model_json_schema())
        return InputRequiredResult(
            request_state=ongoing.id, input_requests={_key(ongoing): ElicitRequest(params=form)}
        )
    answer = await ctx.elicit(prompt, Line)
    await _give(session, ongoing, answer.data.value if answer.action == "accept" else None)
    return None


async def take_answer(ctx: ToolContext, session: Session, ongoing: OngoingExecution) -> None:
    """Give the code the answer that this call brings, if it still waits for that one."""
    answer = (ctx.input_responses or {}).get(_key(ongoing))
    if answer is None or ongoing.asked is None:
        return
    content = getattr(answer, "content", None) or {}
    accepted = getattr(answer, "action", None) == "accept"
    await _give(session, ongoing, str(content.get("value", "")) if accepted else None)


def _key(ongoing: OngoingExecution) -> str:
    """Names the question: a late answer to an earlier one must not answer this one."""
    return f"input-{ongoing.questions}"


async def _give(session: Session, ongoing: OngoingExecution, line: str | None) -> None:
    if ongoing.asked is None:
        return  # the timeout was faster
    if line is None:
        await session.cancel(ongoing)
    else:
        session.send_input(ongoing, line)
