"""Environments and packages, seen by an agent."""

import shutil

import pytest

from kernel_exec.runtime import Runtime
from kernel_exec.settings import Settings
from tests.server.conftest import Connect


async def test_an_environment_lives_from_creation_to_deletion(
    connect: Connect, runtime: Runtime, era: str
) -> None:
    name = f"life-{era}"
    async with connect() as caller:
        reply = await caller.call("create_environment", environment=name, description="for a test")
        assert f"environment={name!r}" in reply
        assert "for a test" in await caller.call("list_environments")
        await caller.call("describe_environment", environment=name, description="described anew")
        assert "described anew" in await caller.call("list_environments")
        reply = await caller.call("install_packages", environment=name, packages=["iniconfig==2.0.0"])
        assert "iniconfig (new) → 2.0.0" in reply
        code = "import iniconfig, sys; sys.prefix"
        assert name in await caller.run(code, environment=name)
        reply = await caller.call("install_packages", environment=name, packages=["iniconfig==2.1.0"])
        assert "iniconfig 2.0.0 → 2.1.0" in reply
        assert caller.session in reply
        assert "iniconfig==2.1.0" in await caller.call(
            "list_packages", environment=name, format="requirements"
        )
        assert "2.1.0 → (removed)" in await caller.call(
            "uninstall_packages", environment=name, packages=["iniconfig"]
        )
        assert caller.session in await caller.refused("delete_environment", environment=name)
        assert caller.session in await caller.call("delete_environment", environment=name, confirm=True)
        assert name not in await caller.call("list_environments")


async def test_the_default_environment_is_not_deleted_by_accident(connect: Connect) -> None:
    async with connect() as caller:
        assert "confirm=true" in await caller.refused("delete_environment", environment="default")


@pytest.mark.parametrize("name", ["../up", "a/b", "-rf", "", "con", "x" * 65, "ünï"])
async def test_a_name_that_could_be_a_path_is_refused(connect: Connect, name: str) -> None:
    async with connect() as caller:
        await caller.refused("create_environment", environment=name)


@pytest.mark.parametrize("requirement", ["-r secrets.txt", "--index-url=http://x", "not a requirement", ""])
async def test_a_bad_requirement_is_named(connect: Connect, requirement: str) -> None:
    async with connect() as caller:
        reply = await caller.refused("install_packages", packages=[requirement])
        assert requirement.partition("=")[0] in reply


async def test_removing_what_kernels_need_is_refused(connect: Connect) -> None:
    async with connect() as caller:
        assert "ipykernel" in await caller.refused("uninstall_packages", packages=["ipykernel"])


async def test_packages_are_listed_for_people_and_for_programs(connect: Connect) -> None:
    async with connect() as caller:
        result = await caller.result("list_packages")
        assert result.structured_content is not None
        assert "ipykernel" in {package["name"] for package in result.structured_content["packages"]}


async def test_a_damaged_environment_says_how_to_repair_it(
    connect: Connect, runtime: Runtime, settings: Settings, era: str
) -> None:
    name = f"damaged-{era}"
    async with connect() as caller:
        await caller.call("create_environment", environment=name)
        shutil.rmtree(settings.home / "environments" / name)
        reply = await caller.refused("execute_code", code="1", session=caller.session, environment=name)
        assert "broken" in reply
        assert "delete_environment" in reply or "repair_environment" in reply
        assert "BROKEN" in await caller.call("list_environments")
        await caller.call("delete_environment", environment=name)


async def test_health_says_that_all_is_well_and_shows_limits(connect: Connect) -> None:
    async with connect() as caller:
        await caller.run("1")
        result = await caller.result("health_check")
        assert result.structured_content is not None
        assert result.structured_content["limits"]["wait_seconds"] == 50
        text = await caller.call("health_check")
        assert caller.session in text
        assert (
            f"isolation of {', '.join(one['name'] for one in result.structured_content['environments'])}: "
            in text
        )
