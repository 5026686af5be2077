"""What can go wrong, and what to do next.

KernelExecError
├── InvalidInput               an argument that can never work
│   ├── InvalidName
│   ├── InvalidRequirement
│   └── PathNotAllowed
├── SettingsError              the configuration; the server does not start
├── EnvironmentNotFound
├── EnvironmentExists
├── EnvironmentBroken          on disk, but not usable
├── EnvironmentBusy            another writer holds it, past the wait
├── EnvironmentInUse           live sessions run in it
├── InstallFailed              the installer said no
├── KernelStartFailed
├── IsolationUnavailable       what was asked for does not work on this machine
├── SessionNotFound
├── SessionConflict            the session exists, in another environment
├── TooManySessions            as many are open as the settings allow
├── SessionClosed              closed while the call waited
├── QueueFull
├── StateLost                  the kernel died since the last call
├── ExecutionNotFound
└── NotWaitingForInput

An exception that the user's code raises is no error of ours: it is an `Execution` with status
`error`.
"""

from collections.abc import Iterable

__all__ = [
    "EnvironmentBroken",
    "EnvironmentBusy",
    "EnvironmentExists",
    "EnvironmentInUse",
    "EnvironmentNotFound",
    "ExecutionNotFound",
    "InstallFailed",
    "InvalidInput",
    "InvalidName",
    "InvalidRequirement",
    "IsolationUnavailable",
    "KernelExecError",
    "KernelStartFailed",
    "NotWaitingForInput",
    "PathNotAllowed",
    "QueueFull",
    "SessionClosed",
    "SessionConflict",
    "SessionNotFound",
    "SettingsError",
    "StateLost",
    "TooManySessions",
]


class KernelExecError(Exception):
    """An error of ours: *message* says what is wrong, *hint* what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        between = "\n" if "\n" in self.message else " "
        return f"{self.message.rstrip()}{between}{self.hint}".strip()


def known(names: Iterable[str]) -> str:
    """Names for a hint: sorted and quoted, at most twenty of them."""
    ordered = sorted(names)
    listed = ", ".join(repr(name) for name in ordered[:20])
    more = len(ordered) - 20
    return f"{listed} and {more} more" if more > 0 else listed or "none"


class InvalidInput(KernelExecError):
    """An argument that can never work."""


class InvalidName(InvalidInput):
    """A name that is not allowed; see `kernel_exec.names`."""


class InvalidRequirement(InvalidInput):
    """Not a PEP 508 requirement, or one that the settings do not allow."""


class PathNotAllowed(InvalidInput):
    """A path outside the workspace, or one that does not exist."""


class SettingsError(KernelExecError):
    """A setting that is unknown or has a bad value; the start stops here."""


class EnvironmentNotFound(KernelExecError):
    """No environment has this name."""

    def __init__(self, name: str, existing: Iterable[str]) -> None:
        super().__init__(
            f"No environment named {name!r}.",
            f"Known environments: {known(existing)}. Use one of these or call create_environment first.",
        )


class EnvironmentExists(KernelExecError):
    """An environment has this name already."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"An environment named {name!r} exists already.",
            "Use it, choose another name, or call delete_environment first.",
        )


class EnvironmentBroken(KernelExecError):
    """The environment is registered but cannot run code."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"Environment {name!r} is broken: {reason}.",
            f"Call repair_environment(environment={name!r}), which rebuilds it with the same packages.",
        )


class EnvironmentBusy(KernelExecError):
    """Another writer held the environment for longer than the wait."""

    def __init__(self, name: str, holder: str, waited_seconds: float) -> None:
        super().__init__(
            f"Environment {name!r} is being changed by {holder}; waited {waited_seconds:g} s.",
            "Try again later; raise the setting lock_wait_seconds to wait longer.",
        )


class EnvironmentInUse(KernelExecError):
    """Live sessions run in the environment."""

    def __init__(self, name: str, sessions: Iterable[str]) -> None:
        super().__init__(
            f"Environment {name!r} is in use by the sessions {known(sessions)}.",
            "Close them with close_session, or pass confirm=true to close them and delete it.",
        )


class InstallFailed(KernelExecError):
    """The installer failed; the message ends with the last lines it wrote."""


class KernelStartFailed(KernelExecError):
    """The kernel process ended, or did not answer in time."""


class IsolationUnavailable(KernelExecError):
    """The isolation that the settings ask for does not work here, so nothing is started."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            "`kernel-exec doctor` tells what works here; see the settings isolation and network.",
        )


class SessionNotFound(KernelExecError):
    """No session has this name."""

    def __init__(self, name: str, existing: Iterable[str]) -> None:
        super().__init__(
            f"No session named {name!r}.",
            f"Open sessions: {known(existing)}. execute_code opens a new one on first use.",
        )


class SessionConflict(KernelExecError):
    """The session is open in another environment than the one asked for."""

    def __init__(self, name: str, environment: str, asked: str) -> None:
        super().__init__(
            f"Session {name!r} runs in environment {environment!r}, not in {asked!r}.",
            f"Leave out `environment`, use another session name, or call close_session({name!r}) first.",
        )


class TooManySessions(KernelExecError):
    """As many sessions are open as the settings allow."""

    def __init__(self, limit: int, names: Iterable[str]) -> None:
        super().__init__(
            f"{limit} sessions are open, which is the limit. Yours: {known(names)}.",
            "Use one of these, close_session one that is no longer needed, or raise max_sessions.",
        )


class SessionClosed(KernelExecError):
    """The session was closed while the call waited for it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Session {name!r} was closed.", "execute_code opens a new one of that name.")


class QueueFull(KernelExecError):
    """The session has as many executions waiting as the settings allow."""

    def __init__(self, name: str, limit: int) -> None:
        super().__init__(
            f"Session {name!r} has {limit} executions waiting, which is its limit.",
            "Wait for them, call interrupt_session, use another session, or raise queue_limit.",
        )


class StateLost(KernelExecError):
    """The kernel died between two executions; told once, then the session is ready again."""


class ExecutionNotFound(KernelExecError):
    """No execution has this identifier."""

    def __init__(self, execution: str, recent: Iterable[str]) -> None:
        super().__init__(
            f"No execution {execution!r}.",
            f"Recent executions: {', '.join(recent) or 'none'}.",
        )


class NotWaitingForInput(KernelExecError):
    """The execution does not wait for a line of input."""

    def __init__(self, execution: str, status: str) -> None:
        super().__init__(
            f"Execution {execution} does not wait for input; its status is {status!r}.",
            f"Call get_execution({execution!r}) to see its output.",
        )
