"""Runs inside each isolated kernel as it starts, before `startup.py`; never imported by the server."""

from typing import Any


def say_who_installs() -> None:
    """The environment is read-only here; the magics that would write to it say what does."""
    from IPython import get_ipython
    from IPython.core.error import UsageError

    def refuse(line: str) -> Any:
        raise UsageError("This environment is read-only here. Call the tool install_packages instead.")

    for name in ("pip", "uv", "conda", "mamba", "micromamba"):
        get_ipython().register_magic_function(refuse, magic_name=name)


say_who_installs()
