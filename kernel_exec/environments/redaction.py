"""What must not be shown: an index's address, and credentials in any URL, are the operator's."""

import re

__all__ = ["without_credentials", "without_urls"]


def without_urls(text: str) -> str:
    """*text* with every URL hidden; for what the installer says."""
    return re.sub(r"\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s`'\"<>)\]]*", "<url>", text)


def without_credentials(text: str) -> str:
    """*text* with its URLs, but without the user names and passwords in them."""
    return re.sub(r"(://)[^/@\s\"']+@", r"\1", text)
