"""How far the code of an environment's kernels is kept from the machine, and why not further."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kernel_exec.environments import Environment
from kernel_exec.errors import IsolationUnavailable
from kernel_exec.kernels.limits import Limits
from kernel_exec.kernels.provisioners.probe import Probe
from kernel_exec.kernels.provisioners.view import hidden_paths
from kernel_exec.settings import Network, Settings

__all__ = ["Isolation", "choose", "kernel_provisioner", "provisioner"]

Level = Literal["none", "sandbox", "container"]


@dataclass(frozen=True, slots=True)
class Isolation:
    """*mechanism* is `bubblewrap`, `landlock`, `podman`, `docker` or empty; *reason* says why it is no
    stronger, and is empty when it is as strong as was asked for.
    """

    level: Level
    mechanism: str = ""
    network: Network = "on"
    reason: str = ""

    def __str__(self) -> str:
        if self.level == "none":
            return f"none: the code can do what the server's user can{_because(self.reason)}"
        return f"{self.level} ({self.mechanism}), network {self.network}{_because(self.reason)}"

    @property
    def notice(self) -> str:
        """What a session's first reply should tell; empty when there is nothing unexpected."""
        if self.level == "none":
            return f"Not isolated{_because(self.reason)}." if self.reason else ""
        if self.network == "off":
            return f"In a {self.level}: no network. Packages are installed with install_packages."
        if self.network == "allow-list":
            return f"In a {self.level}: the network is limited to the destinations that the operator listed."
        return ""


async def choose(settings: Settings, probe: Probe, *, default_network: Network) -> Isolation:
    """The isolation that *settings* (of one environment) ask for, or the strongest that works here.

    Only `isolation = auto` may end with none, and only when no network was asked for that needs it.

    Raises: IsolationUnavailable.
    """
    network = settings.network or default_network
    if settings.isolation == "none":
        if settings.network in ("off", "allow-list"):
            raise IsolationUnavailable(f"network={settings.network!r} needs isolation, which is set to none.")
        return Isolation("none")
    if settings.isolation == "container":
        if obstacle := await probe.obstacle("container", settings, network):
            raise IsolationUnavailable(f"No container can be started here: {obstacle}.")
        return Isolation("container", settings.container_engine, network)
    obstacles: list[str] = []
    for mechanism in settings.sandboxes:
        hidden = hidden_paths(settings.home, [settings.workspace])
        if mechanism == "landlock" and hidden:  # it adds up what is allowed and takes nothing away
            obstacle = f"Landlock cannot hide {hidden[0]}, which lies in the workspace"
        else:
            obstacle = await probe.obstacle(mechanism, settings, network)
        if not obstacle:
            return Isolation("sandbox", mechanism, network, "; ".join(obstacles))
        obstacles.append(obstacle)
    reason = "; ".join(obstacles) or "the setting sandboxes names none"
    if settings.isolation == "sandbox":
        raise IsolationUnavailable(f"No sandbox works here: {reason}.")
    if settings.network in ("off", "allow-list"):
        raise IsolationUnavailable(
            f"network={settings.network!r} needs a sandbox; none works here: {reason}."
        )
    return Isolation("none", reason=reason)


def provisioner(
    isolation: Isolation,
    settings: Settings,
    environment: Environment,
    *,
    writable: Sequence[Path] = (),
    server: str = "",
    **given: object,
) -> dict[str, Any]:
    """A kernelspec's `metadata.kernel_provisioner` for kernels of *environment*; empty for plain ones.

    *writable* is more than the working directory, *server* names a run of the server, and *given* is
    configuration for one kernel alone; see `SandboxProvisioner`.
    """
    if isolation.level == "none":
        return {}
    # All environments: what changes one puts another directory in the place of its own.
    own = environment.path if environment.source == "adopted" else environment.path.parent
    readable = [own, *settings.readable_paths]
    if environment.launcher is not None:
        readable.append(environment.launcher.parent)
    config: dict[str, Any] = {
        "writable": _texts([*writable, *settings.writable_paths]),
        "readable": _texts(readable),
        "data_directory": str(settings.home),
        "network": isolation.network,
        "network_allowed": list(settings.network_allowed),
        "variables": [*settings.kernel_variables, "VIRTUAL_ENV"],
        "tmp_bytes": settings.tmp_bytes,
        **given,
    }
    if isolation.level == "container":
        config |= {"program": settings.container_engine, "image": settings.container_image}
        limits = Limits.of(settings)
        config |= {"server": server, "memory_bytes": limits.memory_bytes, "processes": limits.processes}
        config["cpus"] = limits.cpu_cores or 0.0
    name = "container" if isolation.level == "container" else isolation.mechanism
    return {"provisioner_name": f"kernel-exec-{name}", "config": config}


async def kernel_provisioner(settings: Settings, environment: Environment) -> dict[str, Any]:
    """`provisioner` for kernels that another program starts, whatever its working directory.

    Raises: IsolationUnavailable, also when plain kernels are all that works.
    """
    own = settings.for_environment(environment.name)
    isolation = await choose(own, Probe(), default_network="on")
    if isolation.level == "none":
        raise IsolationUnavailable(f"Nothing isolates the kernels here: {isolation}.")
    return provisioner(isolation, own, environment)


def _texts(paths: Sequence[Path]) -> list[str]:
    return [str(path) for path in dict.fromkeys(paths)]


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""
