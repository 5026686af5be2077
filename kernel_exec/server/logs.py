"""The log: structured events on standard error, which is never the protocol's."""

import logging
import sys

import structlog
from structlog.typing import Processor

from kernel_exec.settings import Settings

__all__ = ["configure_logging"]

_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


def configure_logging(settings: Settings) -> None:
    """Send our events and those of libraries to standard error, in one format."""
    json = settings.log_format == "json"
    renderer: Processor = structlog.processors.JSONRenderer() if json else _console()
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *([structlog.processors.format_exc_info] if json else []),
            renderer,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    for library in ("filelock", "traitlets"):  # their details would bury ours
        logging.getLogger(library).setLevel(max(logging.INFO, logging.root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _console() -> Processor:
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(),
        # The default one shows local variables: the user's code, and secrets.
        exception_formatter=structlog.dev.plain_traceback,
    )
