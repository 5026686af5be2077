"""What stays protected when the operator shows much: the whole home directory, the host's network."""

import pytest

from kernel_exec.errors import IsolationUnavailable
from kernel_exec.runtime import Runtime, open_runtime
from kernel_exec.settings import load_settings
from tests.security.conftest import SETTINGS, World

pytestmark = pytest.mark.slow

both = pytest.mark.parametrize("level", ["bubblewrap", "container"])


@both
async def test_a_workspace_that_is_the_home_directory_shows_no_hidden_files(
    world: World, environment: None, level: str
) -> None:
    (world.user / ".netrc").write_text("password")
    (world.user / "plain").write_text("text")
    before = world.fingerprint()
    settings = load_settings(home=world.home, workspace=world.user, **SETTINGS[level])
    async with open_runtime(settings) as runtime:
        try:
            session = await runtime.sessions.open("wide")
        except IsolationUnavailable as error:
            pytest.skip(str(error))
        for path in (".ssh/key", ".kx/state.db", ".kx/config.toml"):
            assert (await session.execute(f"open({path!r}).read()")).status == "error", path
        assert (await session.execute("open('.netrc').read()")).text != "'password'"
        assert (await session.execute("open('plain').read()")).text == "'text'"
    assert world.fingerprint() == before


@both
async def test_the_hosts_abstract_sockets_stay_closed_when_the_network_is_on(
    world: World, environment: None, level: str
) -> None:
    how = SETTINGS[level] | {"network": "on"}
    async with open_runtime(load_settings(home=world.home, workspace=world.workspace, **how)) as runtime:
        try:
            session = await runtime.sessions.open("online")
        except IsolationUnavailable as error:
            pytest.skip(str(error))
        connect = f"socket.socket(socket.AF_UNIX).connect(chr(0) + {world.abstract!r})"
        assert (await session.execute(f"import socket; {connect}")).status == "error"
        loopback = await session.execute(f"socket.create_connection(('127.0.0.1', {world.port}), 5)")
        assert loopback.status == ("ok" if level == "bubblewrap" else "error")


async def test_packages_of_another_environment_can_be_read_and_not_changed(
    world: World, environment: None, runtime: Runtime, level: str
) -> None:
    other = await runtime.environments.create("other")
    session = await runtime.sessions.open("curious", environment="default")
    path = str(other.path / "pyvenv.cfg")
    assert (await session.execute(f"'home' in open({path!r}).read()")).text == "True"
    written = await session.execute(f"open({path!r}, 'a')")
    assert written.status == ("ok" if level == "none" else "error")
    await runtime.environments.delete("other")
