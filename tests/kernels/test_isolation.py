"""Which isolation is chosen, and what is said about it."""

from pathlib import Path

import pytest

from kernel_exec.errors import IsolationUnavailable, SettingsError
from kernel_exec.kernels.isolation import Isolation, choose
from kernel_exec.kernels.provisioners.probe import Probe
from kernel_exec.runtime import open_runtime
from kernel_exec.settings import Settings, load_settings


class Works(Probe):
    """A machine on which only these work."""

    def __init__(self, *mechanisms: str) -> None:
        super().__init__()
        self.mechanisms = mechanisms

    async def obstacle(self, mechanism: str, settings: Settings, network: str) -> str:
        return "" if mechanism in self.mechanisms else f"{mechanism} is missing"


@pytest.fixture
def set_to(tmp_path: Path):
    (tmp_path / "work").mkdir()
    sandboxes = ("bubblewrap", "landlock")  # whatever the suite runs under

    def set_to(**how: object) -> Settings:
        return load_settings(home=tmp_path / "home", workspace=tmp_path / "work", sandboxes=sandboxes, **how)

    return set_to


async def test_auto_takes_the_strongest_that_works(set_to) -> None:
    settings = set_to(isolation="auto")
    assert await choose(settings, Works("bubblewrap", "landlock"), default_network="on") == Isolation(
        "sandbox", "bubblewrap"
    )
    weaker = await choose(settings, Works("landlock"), default_network="on")
    assert (weaker.mechanism, weaker.reason) == ("landlock", "bubblewrap is missing")


async def test_auto_starts_plain_kernels_where_nothing_works_and_says_so(set_to) -> None:
    plain = await choose(set_to(isolation="auto"), Works(), default_network="off")
    assert plain.level == "none"
    assert "bubblewrap is missing; landlock is missing" in plain.notice


@pytest.mark.parametrize(
    "how",
    [
        {"isolation": "sandbox"},
        {"isolation": "container"},
        {"isolation": "auto", "network": "off"},
        {"isolation": "none", "network": "off"},
    ],
)
async def test_what_was_asked_for_is_refused_rather_than_weakened(set_to, how: dict[str, str]) -> None:
    with pytest.raises(IsolationUnavailable):
        await choose(set_to(**how), Works(), default_network="on")


async def test_landlock_is_not_used_where_it_would_have_to_hide_something(tmp_path: Path) -> None:
    settings = load_settings(
        home=tmp_path / "home", workspace=tmp_path, isolation="auto", sandboxes=("landlock",)
    )
    chosen = await choose(settings, Works("landlock"), default_network="on")
    assert chosen.level == "none"
    assert "cannot hide" in chosen.reason


async def test_the_operator_may_set_one_environment_apart(set_to, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.toml").write_text(
        '[environment_settings.risky]\nisolation = "sandbox"\nnetwork = "off"\n'
    )
    settings = set_to(isolation="none")
    assert (await choose(settings, Works(), default_network="on")).level == "none"
    risky = await choose(settings.for_environment("risky"), Works("bubblewrap"), default_network="on")
    assert (risky.level, risky.network) == ("sandbox", "off")


@pytest.mark.parametrize(
    "how", [{"writable_paths": ["/no/such"]}, {"network_allowed": ["no-port"]}, {"isolation": "maybe"}]
)
def test_a_bad_setting_stops_the_start(set_to, how: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        set_to(**how)


@pytest.mark.parametrize("mechanism", ["bubblewrap", "landlock"])
async def test_a_sandboxed_kernel_says_who_installs_packages(
    runtime, settings: Settings, mechanism: str, tmp_path: Path
) -> None:
    extra = tmp_path / "extra"
    extra.mkdir()
    (extra / "data").write_text("readable")
    sandboxed = settings.model_copy(
        update={"isolation": "sandbox", "sandboxes": (mechanism,), "readable_paths": (extra,)}
    )
    async with open_runtime(sandboxed) as runtime:
        try:
            session = await runtime.sessions.open("packages")
        except IsolationUnavailable as error:
            pytest.skip(str(error))
        for code in ("%pip install numpy", "!pip install numpy", "!python -m pip -q install numpy"):
            assert "install_packages" in (await session.execute(code)).text, code
        assert (await session.execute("!echo pip install")).text == "pip install\r\n"
        assert (await session.execute(f"open({str(extra / 'data')!r}).read()")).text == "'readable'"
        assert (await session.execute(f"open({str(extra / 'data')!r}, 'w')")).status == "error"
        assert (await session.execute("import tempfile; tempfile.NamedTemporaryFile().name")).status == "ok"
