"""One OpenTelemetry span per execution, when the process has OpenTelemetry set up."""

import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["Span", "current_context"]


def current_context() -> Any:
    """Where the caller is in its trace; the span will be there too."""
    # Who sets up a tracer has imported this; nobody else need pay for the import.
    api = sys.modules.get("opentelemetry.context")
    return api.get_current() if api is not None else None


class Span:
    """Begins when it is made, in the *context* of the call that asked for the execution."""

    def __init__(self, context: Any, attributes: Mapping[str, str]) -> None:
        api = sys.modules.get("opentelemetry.trace")
        self._span = None
        if api is not None:
            tracer = api.get_tracer("kernel_exec")
            self._span = tracer.start_span("execute", context, attributes=_named(attributes))

    def end(self, *, failed: bool, attributes: Mapping[str, Any]) -> None:
        """End it, with what is known now; values that are None are left out."""
        if self._span is None:
            return
        self._span.set_attributes(_named(attributes))
        if failed:
            from opentelemetry.trace import Status, StatusCode

            self._span.set_status(Status(StatusCode.ERROR, str(attributes.get("status", ""))))
        self._span.end()


def _named(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {f"kernel_exec.{name}": value for name, value in attributes.items() if value is not None}
