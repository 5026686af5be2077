"""The arguments that tools share: one spelling and one description of each."""

from typing import Annotated

from pydantic import Field

__all__ = [
    "Code",
    "EnvironmentName",
    "ExecutionId",
    "FilePath",
    "Inputs",
    "MaxChars",
    "OptionalEnvironment",
    "Requirements",
    "SessionName",
    "TimeoutSeconds",
    "WaitSeconds",
]

MAX_CODE_CHARS = 4_000_000

Code = Annotated[
    str,
    Field(description="Python code; the value of its last expression is shown", max_length=MAX_CODE_CHARS),
]
SessionName = Annotated[
    str, Field(description="Session: a named kernel whose variables live on from call to call")
]
EnvironmentName = Annotated[
    str | None, Field(description="Environment: a named virtual environment (default: the default one)")
]
OptionalEnvironment = Annotated[
    str | None,
    Field(description="Environment to open the session in, if it is new (default: the default environment)"),
]
ExecutionId = Annotated[str, Field(description='Execution, as in the last line of its reply, such as "e17"')]
TimeoutSeconds = Annotated[
    float | None, Field(gt=0, description="Interrupt the code after this many seconds; variables are kept")
]
WaitSeconds = Annotated[
    float | None,
    Field(ge=0, description="Answer after this many seconds at the latest; the code goes on (0: at once)"),
]
Inputs = Annotated[
    list[str], Field(description="Lines that answer input() and getpass(), in turn", max_length=10_000)
]
MaxChars = Annotated[
    int | None, Field(ge=200, le=500_000, description="Characters of output in the reply (default 10,000)")
]
FilePath = Annotated[str, Field(description="Path inside the workspace, relative to it or absolute")]
Requirements = Annotated[
    list[str],
    Field(description='PEP 508 requirements, such as "pandas>=2" or "httpx[http2]"', min_length=1),
]
