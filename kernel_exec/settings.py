"""Every setting, read once at the start, frozen, and passed down."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from kernel_exec.errors import KernelExecError, SettingsError
from kernel_exec.names import check_name

__all__ = [
    "KERNEL_VARIABLES",
    "LOWERED",
    "EnvironmentSettings",
    "Network",
    "Settings",
    "load_settings",
    "setting_origins",
]

PREFIX = "KERNEL_EXEC_"

Seconds = Annotated[float, Field(gt=0, le=365 * 86_400)]
Bytes = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
# Less than this, and a kernel does not start.
Memory = Annotated[int, Field(ge=128 << 20)]
Cores = Annotated[float, Field(ge=0.01)]
Processes = Annotated[int, Field(ge=32)]
OpenFiles = Annotated[int, Field(ge=64)]
Level = Literal["auto", "none", "sandbox", "container"]
Network = Literal["on", "off", "allow-list"]
Destination = Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:./]+\]|[^\s:\[\]]+):(\d{1,5}|\*)$")]

LOWERED = (
    "timeout_seconds",
    "max_timeout_seconds",
    "idle_timeout_seconds",
    "output_limit_bytes",
    "memory_limit_bytes",
    "cpu_limit_cores",
    "processes_limit",
    "open_files_limit",
    "file_size_limit_bytes",
    "disk_limit_bytes",
    "files_limit",
)
"""The limits that an environment may have of its own: never higher ones than the server's."""

KERNEL_VARIABLES = (
    "COLORTERM",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TERM",
    "TZ",
    "NO_COLOR",
    "FORCE_COLOR",
    "COLUMNS",
    "LINES",
    "USER",
    "LOGNAME",
    "MPLBACKEND",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PYTHONHASHSEED",
    "PYTHONUTF8",
    "SSL_CERT_*",
)


def _default_home() -> Path:
    return platformdirs.user_data_path("kernel-exec", appauthor=False)


def _existing(paths: tuple[Path, ...] | None) -> tuple[Path, ...] | None:
    if paths is None:
        return None
    found = tuple(path.expanduser().absolute() for path in paths)
    if missing := [str(path) for path in found if not path.exists()]:
        raise ValueError(f"there is no {', '.join(missing)}")
    return tuple(path.resolve() for path in found)


class EnvironmentSettings(BaseModel):
    """What the operator sets for one environment, in `[environment_settings.<name>]` of `config.toml`;
    what is left out is as for the server.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    isolation: Level | None = None
    network: Network | None = None
    network_allowed: tuple[Destination, ...] | None = None
    writable_paths: tuple[Path, ...] | None = None
    readable_paths: tuple[Path, ...] | None = None
    kernel_variables: tuple[str, ...] | None = None
    container_image: str | None = None

    timeout_seconds: Seconds | None = None
    max_timeout_seconds: Seconds | None = None
    idle_timeout_seconds: Seconds | None = None
    output_limit_bytes: Bytes | None = None
    memory_limit_bytes: Memory | None = None
    cpu_limit_cores: Cores | None = None
    processes_limit: Processes | None = None
    open_files_limit: OpenFiles | None = None
    file_size_limit_bytes: Bytes | None = None
    disk_limit_bytes: Bytes | None = None
    files_limit: Count | None = None

    _paths = field_validator("writable_paths", "readable_paths")(_existing)


class Settings(BaseSettings):
    """Where things are and how much of everything is allowed.

    Sources, strongest first: arguments, environment variables `KERNEL_EXEC_<NAME>`, `config.toml` in
    the data directory *home*, these defaults. Use `load_settings`, which turns a bad value into a
    `SettingsError`.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True, validate_default=True
    )

    home: Path = Field(default_factory=_default_home, description="Data directory")
    workspace: Path = Field(
        default_factory=Path.cwd,
        description="Directory that sessions start in, and that path arguments must be inside of",
    )
    default_environment: str = Field("default", description="Environment used when none is named")

    timeout_seconds: Seconds = Field(600, description="The code is interrupted after")
    max_timeout_seconds: Seconds = Field(86_400, description="The largest timeout_seconds a call may ask for")
    wait_seconds: Annotated[float, Field(ge=0, le=86_400)] = Field(
        50, description="A call answers after; the code goes on"
    )
    interrupt_grace_seconds: Seconds = Field(
        5, description="Time between two steps of the ladder: interrupt, interrupt again, kill"
    )
    progress_seconds: Seconds = Field(4, description="Time between two progress notifications")
    kernel_start_seconds: Seconds = Field(60, description="A kernel must be ready within")
    shutdown_grace_seconds: Seconds = Field(
        1.5, description="A kernel may take this long to shut down before it is killed"
    )
    package_timeout_seconds: Seconds = Field(600, description="An installation is stopped after")
    lock_wait_seconds: Seconds = Field(
        300, description="How long a call waits for another writer of an environment"
    )
    requirement_sources: tuple[Literal["path", "url", "vcs"], ...] = Field(
        ("path",), description="Where a requirement may come from besides the index: path, url, vcs"
    )
    allowed_packages: tuple[str, ...] = Field(
        (), description="The only packages that may be asked for, when any are named"
    )
    denied_packages: tuple[str, ...] = Field((), description="Packages that are never installed")
    presets: dict[str, tuple[str, ...]] = Field(
        {"data-science": ("pandas", "matplotlib", "scipy", "scikit-learn")},
        description="Named lists of packages for new environments",
    )
    queue_limit: Count = Field(64, description="Executions that may wait in one session")

    max_chars: Annotated[int, Field(ge=200, le=500_000)] = Field(
        10_000, description="Characters of output in one reply"
    )
    max_images: Annotated[int, Field(ge=0, le=20)] = Field(4, description="Images in one reply")
    image_limit_bytes: Annotated[int, Field(ge=10_000, le=700_000)] = Field(
        700_000, description="Size of one image in a reply"
    )
    image_limit_pixels: Annotated[int, Field(ge=64, le=8_000)] = Field(
        1_568, description="Long side of one image in a reply"
    )
    output_limit_bytes: Bytes = Field(1 << 30, description="Output of one execution that is kept")

    memory_limit_bytes: Memory | None = Field(
        None, description="Memory of one session; if not set, half of the machine's"
    )
    total_memory_limit_bytes: Memory | None = Field(
        None, description="Memory of all sessions together; if not set, 80 % of the machine's"
    )
    cpu_limit_cores: Cores | None = Field(None, description="CPU cores of one session; if not set, all")
    processes_limit: Processes = Field(256, description="Processes and threads of one session")
    open_files_limit: OpenFiles = Field(4096, description="Open files of one process")
    file_size_limit_bytes: Bytes = Field(16 << 30, description="Size of one file that is written")
    disk_limit_bytes: Bytes | None = Field(
        None, description="What one execution may write to disk; if not set, half of what is free"
    )
    files_limit: Count | None = Field(
        None,
        description="New files one execution may make; if not set, half of what the disk has room for",
    )
    max_sessions: Count = Field(32, description="Sessions open at once")
    max_running_executions: Count | None = Field(
        None, description="Executions that run at once, in all sessions; others wait"
    )
    idle_timeout_seconds: Seconds | None = Field(
        None, description="A session's kernel is shut down after so long without code; if not set, never"
    )

    host: str = Field("127.0.0.1", description="HTTP: address to listen on")
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(
        8000, description="HTTP: port to listen on; 0 takes a free one"
    )
    token: SecretStr | None = Field(
        None, description="HTTP: bearer token; made and printed when there is none"
    )
    allowed_hosts: tuple[str, ...] = Field(
        (), description="HTTP: Host headers accepted besides the address listened on"
    )
    allowed_origins: tuple[str, ...] = Field((), description="HTTP: Origin headers accepted besides loopback")

    isolation: Level = Field(
        "auto", description="How code is kept from the machine: auto takes the strongest sandbox that works"
    )
    sandboxes: tuple[Literal["bubblewrap", "landlock"], ...] = Field(
        ("bubblewrap", "landlock"), description="Sandboxes that may be used, the first that works"
    )
    network: Network | None = Field(
        None,
        description="Network of isolated code: on, off or allow-list; if not set, off over HTTP, else on",
    )
    network_allowed: tuple[Destination, ...] = Field(
        (), description="Destinations of network=allow-list, as host:port; both may be patterns with *"
    )
    writable_paths: tuple[Path, ...] = Field(
        (), description="What isolated code may write to besides the workspace"
    )
    readable_paths: tuple[Path, ...] = Field((), description="What isolated code may read besides")
    kernel_variables: tuple[str, ...] = Field(
        tuple(KERNEL_VARIABLES),
        description="Environment variables that isolated code gets, with * as a wildcard",
    )
    tmp_bytes: Bytes = Field(1 << 30, description="Size of the private /tmp of a sandbox, which is in memory")
    container_engine: Literal["podman", "docker"] = Field("podman", description="What runs containers")
    container_image: str = Field("", description="Image for isolation=container; Python comes from outside")
    environment_settings: dict[str, EnvironmentSettings] = Field(
        {}, description="Other values for single environments"
    )

    log_level: Literal["debug", "info", "warning", "error", "critical"] = Field(
        "warning", description="Least severe log event that is written to standard error"
    )
    log_format: Literal["console", "json"] = Field("console", description="Format of the log")

    @field_validator("home", "workspace")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @field_validator("workspace")
    @classmethod
    def _directory(cls, path: Path) -> Path:
        if not path.is_dir():
            raise ValueError("not a directory")
        return path.resolve()

    _paths = field_validator("writable_paths", "readable_paths")(_existing)

    @field_validator("default_environment")
    @classmethod
    def _name(cls, name: str) -> str:
        try:
            return check_name(name, "environment")
        except KernelExecError as error:
            raise ValueError(str(error)) from error

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the file in the data directory below the environment variables."""
        home = init_settings().get("home") or env_settings().get("home") or _default_home()
        file = TomlConfigSettingsSource(settings_cls, toml_file=_config_file(Path(home)))
        return init_settings, env_settings, file

    def for_environment(self, name: str) -> "Settings":
        """These settings with what the operator set for the environment *name*; limits are only lowered."""
        own = self.environment_settings.get(name)
        if own is None:
            return self
        values = own.model_dump(exclude_none=True)
        for limit in LOWERED:
            given = [one for one in (values.get(limit), getattr(self, limit)) if one is not None]
            values[limit] = min(given, default=None)
        return self.model_copy(update=values)

    @property
    def config_file(self) -> Path:
        """The file that settings are read from; it need not exist."""
        return _config_file(self.home)


def _config_file(home: Path) -> Path:
    return home.expanduser() / "config.toml"


def load_settings(**arguments: Any) -> Settings:
    """Read the settings; *arguments* that are not None win over every other source.

    Raises: SettingsError, naming the setting, its value, where it came from and what is allowed.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    unknown = {
        name
        for name in os.environ
        if name.startswith(PREFIX) and name.removeprefix(PREFIX).lower() not in Settings.model_fields
    }
    if unknown:
        raise SettingsError(f"Unknown environment variable {', '.join(sorted(unknown))}.", _allowed_names())
    try:
        return Settings(**given)
    except ValidationError as error:
        raise _settings_error(error, given) from error
    except (OSError, ValueError) as error:  # an unreadable file, or one that is no TOML
        raise SettingsError(
            f"The configuration file cannot be read: {error}.", "Mend or remove it."
        ) from error


def setting_origins(settings: Settings, **arguments: Any) -> Mapping[str, str]:
    """Where each setting's value came from: `argument`, an environment variable, a file, or `default`."""
    file = TomlConfigSettingsSource(Settings, toml_file=settings.config_file)()
    origins = dict.fromkeys(Settings.model_fields, "default")
    origins |= dict.fromkeys(file, str(settings.config_file))
    for name in Settings.model_fields:
        if os.environ.get(variable := f"{PREFIX}{name.upper()}"):
            origins[name] = variable
    return origins | {name: "argument" for name, value in arguments.items() if value is not None}


def _settings_error(error: ValidationError, given: Mapping[str, Any]) -> SettingsError:
    first = error.errors()[0]
    name = str(first["loc"][0])
    variable = f"{PREFIX}{name.upper()}"
    source = "argument" if name in given else variable if os.environ.get(variable) else "config.toml"
    if first["type"] == "extra_forbidden":
        return SettingsError(f"Unknown setting {name!r} ({source}).", _allowed_names())
    shown = "(hidden)" if name == "token" else repr(first["input"])
    return SettingsError(
        f"Setting {name!r} has the bad value {shown} ({source}).",
        f"{first['msg']}. {Settings.model_fields[name].description}.",
    )


def _allowed_names() -> str:
    return f"Settings are: {', '.join(sorted(Settings.model_fields))}."
