import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable

import pytest

from kernel_exec.environments import Change, Environments
from kernel_exec.errors import (
    EnvironmentBroken,
    EnvironmentExists,
    EnvironmentNotFound,
    InstallFailed,
    InvalidInput,
    InvalidName,
)
from kernel_exec.processes import run
from kernel_exec.settings import Settings
from tests.environments.conftest import kernel_in

Wheel = Callable[..., str]


async def python_says(environments: Environments, name: str, code: str) -> str:
    executable = environments.get(name).python_executable
    done = await run([executable, "-c", code], timeout_seconds=60)
    assert done.returncode == 0, done.errors
    return done.output.strip()


async def test_the_default_environment_is_made_on_first_use_and_has_ipykernel(shared: Environments) -> None:
    environment = await shared.ensure("default")
    assert environment.python == ".".join(map(str, sys.version_info[:3]))
    assert "ipykernel" in [package.name for package in await shared.packages("default")]
    assert await python_says(shared, "default", "import sys; print(sys.prefix)") == str(environment.path)


async def test_jupyter_lists_the_kernelspec(shared: Environments, shared_settings: Settings) -> None:
    path = os.environ | {"JUPYTER_PATH": str(shared_settings.home / "jupyter")}
    command = [sys.executable, "-m", "jupyter_client.kernelspecapp", "list", "--json"]
    done = await run(command, env=path, timeout_seconds=60)
    spec = json.loads(done.output)["kernelspecs"]["default"]["spec"]
    assert spec["argv"][0] == str(shared.get("default").python_executable)
    assert spec["language"] == "python"


async def test_the_data_directory_is_closed_to_others(
    shared: Environments, shared_settings: Settings
) -> None:
    assert shared_settings.home.stat().st_mode & 0o077 == 0


async def test_the_default_environment_is_made_once_for_callers_and_processes(settings: Settings) -> None:
    one, other = Environments(settings), Environments(settings)
    script = "import sys, asyncio; from kernel_exec.settings import load_settings; "
    script += "from kernel_exec.environments import Environments; "
    script += "made = asyncio.run(Environments(load_settings(home=sys.argv[1])).ensure('default')); "
    script += "print(made.created.isoformat())"
    made, again, by_process = await asyncio.gather(
        one.ensure("default"),
        other.ensure("default"),
        run([sys.executable, "-c", script, str(settings.home)], timeout_seconds=120),
    )
    assert made == again
    assert by_process.output.strip() == made.created.isoformat(), by_process.errors
    assert [each.name for each in await one.list()] == ["default"]


async def test_an_unknown_environment_lists_the_known_ones(shared: Environments) -> None:
    with pytest.raises(EnvironmentNotFound, match="Known environments: 'default'"):
        await shared.ensure("elsewhere")


async def test_a_taken_name_and_a_bad_name_are_refused(shared: Environments) -> None:
    with pytest.raises(EnvironmentExists):
        await shared.create("DEFAULT")
    with pytest.raises(InvalidName):
        await shared.create("../up")


async def test_a_python_that_is_not_there_gives_the_ones_that_are(shared: Environments) -> None:
    for request in ("3.2", "/bin/echo"):
        with pytest.raises(InvalidInput, match=r"Installed: .*3\."):
            await shared.create("old", python=request)


async def test_an_environment_is_made_for_the_python_of_a_path_or_a_version(
    environments: Environments,
) -> None:
    minor = ".".join(map(str, sys.version_info[:2]))
    by_path = await environments.create("path", python=sys.executable)  # of a venv: what counts is its base
    by_version = await environments.create("version", python=f"=={minor}.*")
    assert by_path.python == ".".join(map(str, sys.version_info[:3]))
    assert by_version.python.startswith(minor)
    assert not by_path.base_python.is_relative_to(sys.prefix)


async def test_packages_come_go_and_change_and_the_record_follows(
    environments: Environments, wheel: Wheel, settings: Settings
) -> None:
    said: list[str] = []
    first, second = wheel("sample", "1.0"), wheel("sample", "2.0")
    await environments.create("lab", packages=[first], description="Mine", on_progress=said.append)
    assert any("sample==1.0" in line for line in said)

    assert await environments.install("lab", [second]) == [Change("sample", "1.0", "2.0")]
    assert await python_says(environments, "lab", "import sample; print(sample.version)") == "2.0"
    assert environments.get("lab").requirements == (f"sample @ file://{second}",)

    assert await environments.uninstall("lab", ["Sample"]) == [Change("sample", "2.0", None)]
    with pytest.raises(InvalidInput, match="Not installed in 'lab': sample"):
        await environments.uninstall("lab", ["sample"])

    for needed in ("ipykernel", "PyZMQ", "tornado"):
        with pytest.raises(InvalidInput, match="cannot be removed"):
            await environments.uninstall("lab", [needed])

    described = await environments.describe("lab", "Ours")
    assert Environments(settings).get("lab") == described

    copy = await environments.create("copy", clone_from="lab")
    assert copy.source == "cloned"
    assert await environments.packages("copy") == await environments.packages("lab")
    assert await environments.size_bytes("copy") > 1_000_000

    await environments.delete("copy")
    await environments.delete("lab")
    assert await environments.list() == []
    assert not [entry for entry in (settings.home / "environments").iterdir() if entry.is_dir()]


async def test_a_failed_installation_explains_itself_and_changes_nothing(
    environments: Environments, wheel: Wheel
) -> None:
    await environments.create("lab", packages=[wheel("sample", "1.0")])
    before = environments.get("lab"), await environments.packages("lab")
    with pytest.raises(InstallFailed, match="needy") as failed:
        await environments.install("lab", [wheel("needy", "1.0", requires=("tornado<1",)), "tornado>=6"])
    assert "unsatisfiable" in failed.value.message
    assert (environments.get("lab"), await environments.packages("lab")) == before

    started = asyncio.Event()
    call = asyncio.create_task(
        environments.install("lab", [wheel("sample", "3.0")], on_progress=lambda _: started.set())
    )
    await started.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (environments.get("lab"), await environments.packages("lab")) == before
    assert await python_says(environments, "lab", "import sample; print(sample.version)") == "1.0"


async def test_a_failed_or_cancelled_creation_leaves_no_environment(
    environments: Environments, wheel: Wheel, settings: Settings
) -> None:
    with pytest.raises(InstallFailed):
        await environments.create("lab", packages=[wheel("needy", "1.0", requires=("tornado<1",))])
    started = asyncio.Event()
    call = asyncio.create_task(environments.create("lab", on_progress=lambda _: started.set()))
    await started.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await environments.list() == []
    assert not [entry for entry in (settings.home / "environments").iterdir() if entry.is_dir()]


async def test_a_missing_directory_tells_how_to_repair_and_can_be_deleted(
    shared: Environments, shared_settings: Settings, environments: Environments, settings: Settings
) -> None:
    shutil.copytree(shared_settings.home / "environments", settings.home / "environments", symlinks=True)
    shutil.copytree(shared_settings.home / "jupyter", settings.home / "jupyter")
    shutil.rmtree(environments.get("default").path)
    with pytest.raises(EnvironmentBroken, match="is gone"):
        environments.get("default")
    assert [each.broken != "" for each in await environments.list()] == [True]
    await environments.delete("default")
    assert await environments.list() == []


async def test_a_running_kernel_keeps_what_it_imported_and_finds_what_is_new(
    environments: Environments, settings: Settings, wheel: Wheel
) -> None:
    await environments.create("lab", packages=[wheel("sample", "1.0")])
    with kernel_in(settings, "lab") as run_code:
        assert run_code("import sample; print(sample.version)") == "1.0"
        await environments.install("lab", [wheel("sample", "2.0"), wheel("another", "1.0")])
        assert run_code("import another; print(sample.version, another.version)") == "1.0 1.0"
        # A module that was never imported before still comes from the exchanged directory.
        assert run_code("import importlib; print(importlib.reload(sample).version)") == "2.0"
        assert run_code("import IPython.lib.demo, subprocess, sys; print('fine')") == "fine"
        assert (
            run_code("subprocess.run([sys.executable, '-c', 'import sample'], check=True); print('ok')")
            == "ok"
        )


async def test_a_waiting_call_tells_whom_it_waits_for_and_readers_do_not_wait(
    environments: Environments, settings: Settings
) -> None:
    await environments.create("lab")
    told: asyncio.Queue[str] = asyncio.Queue()
    other = Environments(settings)  # as another server would be
    async with other._parts.exclusive("lab", doing="installing pandas"):
        waiting = asyncio.create_task(environments.delete("lab", on_progress=told.put_nowait))
        assert await told.get() == "Waiting for another call (installing pandas)"
        assert environments.get("lab").broken == ""
        assert await environments.packages("lab")
        assert [each.name for each in await environments.list()] == ["lab"]
    await waiting
    assert await environments.list() == []
