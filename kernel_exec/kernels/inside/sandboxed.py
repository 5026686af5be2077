"""Runs inside each isolated kernel as it starts, before `startup`; never imported by the server."""

from typing import Any


def say_who_installs() -> None:
    """The environment is read-only here; `%pip install` and `!pip install` say what writes to it."""
    import re

    from IPython import get_ipython
    from IPython.core.error import UsageError

    installers = ("pip", "uv", "conda", "mamba", "micromamba")
    installation = re.compile(rf"\s*(?:\S*python[\d.]*\s+-m\s+)?(?:{'|'.join(installers)})3?\s.*\binstall\b")
    shell = get_ipython()
    system = shell.system

    def refuse(line: str) -> Any:
        raise UsageError("This environment is read-only here. Call the tool install_packages instead.")

    def refuse_installation(command: str) -> Any:
        return refuse(command) if installation.match(command) else system(command)

    for name in installers:
        shell.register_magic_function(refuse, magic_name=name)
    shell.system = refuse_installation


say_who_installs()
