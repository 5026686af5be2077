"""The open sessions of this process, by name."""

import asyncio
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

from kernel_exec.environments import Environments
from kernel_exec.errors import InvalidInput, SessionConflict, SessionNotFound, TooManySessions
from kernel_exec.kernels import Kernel, Kernels
from kernel_exec.names import check_name
from kernel_exec.sessions.execution import Execution
from kernel_exec.sessions.history import History, SessionRecord
from kernel_exec.sessions.ongoing import OngoingExecution
from kernel_exec.sessions.session import Session
from kernel_exec.sessions.slots import Slots
from kernel_exec.settings import Settings

__all__ = ["DEFAULT_SESSION", "LOCAL", "Sessions"]

DEFAULT_SESSION = "main"
LOCAL = "local"
"""The principal of callers that are the user of this machine: the library and stdio."""


class Sessions:
    """Opens, finds and closes sessions. Every look-up takes the *principal* who calls; nobody finds
    another's sessions or executions.
    """

    def __init__(
        self, settings: Settings, environments: Environments, kernels: Kernels, history: History, server: str
    ) -> None:
        self._settings = settings
        self._environments = environments
        self._kernels = kernels
        self._history = history
        self.server = server
        self._sessions: dict[tuple[str, str], Session] = {}
        self._slots = Slots(settings.max_running_executions)

    async def open(
        self,
        name: str = DEFAULT_SESSION,
        *,
        environment: str | None = None,
        directory: Path | None = None,
        principal: str = LOCAL,
    ) -> Session:
        """The session *name*, with a kernel; a new one in *environment* and *directory* if there is none.

        Defaults: the default environment, which is created on first use, and the workspace.

        Raises: InvalidName; SessionConflict, when it is open in another environment; TooManySessions; what
        keeps the environment from being created or the kernel from starting.
        """
        key = (principal, check_name(name, "session"))
        if not self.is_open(name, principal):
            chosen = await self._environments.ensure(environment or self._settings.default_environment)
        if self.is_open(name, principal):  # perhaps by another caller, meanwhile
            session = self._sessions[key]
        else:
            if len(self.list(None)) >= self._settings.max_sessions:
                raise TooManySessions(self._settings.max_sessions, (one.name for one in self.list(principal)))
            directory = directory or self._settings.workspace
            if not directory.is_dir():
                raise InvalidInput(f"There is no directory {str(directory)!r}.", "Create it first.")
            session = Session(
                name,
                principal,
                chosen.name,
                directory,
                server=self.server,
                settings=self._settings.for_environment(chosen.name),
                history=self._history,
                start_kernel=partial(self._start_kernel, chosen.name, directory),
                slots=self._slots,
            )
            self._sessions[key] = session
        if environment is not None and environment != session.environment:
            raise SessionConflict(name, session.environment, environment)
        try:
            await session.started()
        except Exception:
            if session.closed and self._sessions.get(key) is session:
                del self._sessions[key]
            raise
        return session

    def is_open(self, name: str, principal: str = LOCAL) -> bool:
        """Whether there is a session *name* that `get` returns."""
        session = self._sessions.get((principal, name))
        return session is not None and not session.closed

    def get(self, name: str, principal: str = LOCAL) -> Session:
        """The open session *name*.

        Raises: SessionNotFound, with the open ones.
        """
        if not self.is_open(name, principal):
            raise SessionNotFound(name, (other.name for other in self.list(principal)))
        return self._sessions[principal, name]

    def list(self, principal: str | None = LOCAL) -> list[Session]:
        """The open sessions of *principal*, or of all (None), oldest first."""
        return [
            session
            for (owner, _), session in self._sessions.items()
            if not session.closed and principal in (None, owner)
        ]

    async def close(self, name: str, principal: str = LOCAL) -> None:
        """Close the session *name*; its history stays.

        Raises: SessionNotFound.
        """
        session = self.get(name, principal)
        del self._sessions[principal, name]
        await session.close()

    async def close_all(self) -> None:
        """Close every session, all at once."""
        sessions, self._sessions = list(self._sessions.values()), {}
        await asyncio.gather(*(session.close() for session in sessions))

    def record(self, name: str, principal: str = LOCAL) -> SessionRecord:
        """What the history has of the session *name*: the open one, else the last one of that name.

        Raises: SessionNotFound.
        """
        record = self._history.latest_session(name, principal)
        if (principal, name) in self._sessions or record is None:
            return self.get(name, principal).record
        return record

    def execution(self, execution: str, principal: str = LOCAL) -> Execution:
        """The execution of this id as it is now, also when its session is closed.

        Raises: ExecutionNotFound, with the recent ones.
        """
        found = self.find(execution, principal)
        if found is not None:
            session, ongoing = found
            return session.snapshot(ongoing)
        return self._history.execution(execution, principal)

    def find(self, execution: str, principal: str = LOCAL) -> tuple[Session, OngoingExecution] | None:
        """The execution and its session, unless it is over."""
        for session in self.list(principal):
            if (ongoing := session.find(execution)) is not None:
                return session, ongoing
        return None

    def _start_kernel(self, environment: str, directory: Path) -> AbstractAsyncContextManager[Kernel]:
        self._environments.mark_used(environment)
        return self._kernels.run(self._environments.get(environment), directory)
