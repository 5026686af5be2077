import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from kernel_exec.environments import Environments
from kernel_exec.settings import Settings

# A round takes some two seconds; `KILL_ROUNDS=200 pytest -m slow tests/environments/test_kill.py`.
ROUNDS = int(os.environ.get("KILL_ROUNDS", "12"))
LONGEST_SECONDS = 1.5

# Does random things to two environments until it is killed.
WORK = """
import asyncio, random, sys
from kernel_exec.environments import Environments
from kernel_exec.errors import KernelExecError
from kernel_exec.settings import load_settings

home, workspace, seed, *wheels = sys.argv[1:]
choose = random.Random(seed)
environments = Environments(load_settings(home=home, workspace=workspace, lock_wait_seconds=60))

async def step():
    one, other = choose.sample(["one", "two"], 2)
    action = choose.randrange(8)
    if action == 0:
        await environments.delete(one)
    elif action == 1:
        await environments.create(one, clone_from=other, offline=True)
    elif action == 2:
        await environments.describe(one, str(choose.random()))
    elif action == 3:
        await environments.uninstall(one, ["sample"])
    elif action == 4:
        await environments.repair(one, offline=True)
    elif action == 5:
        await environments.create(one, packages=[choose.choice(wheels)], offline=True)
    else:
        await environments.install(one, [choose.choice(wheels)], offline=True)

async def main():
    print("at work", flush=True)
    while True:
        try:
            await step()
        except KernelExecError as error:
            if "is broken" in str(error):
                print(error, flush=True)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_killed_at_any_point_an_environment_is_whole_or_absent(
    environments: Environments, settings: Settings, wheel: Callable[..., str]
) -> None:
    wheels = [wheel("sample", "1.0"), wheel("sample", "2.0")]
    choose = random.Random(20)
    seen: set[str] = set()
    for number in range(ROUNDS):
        count = 2 if number % 4 == 0 else 1
        workers = [at_work(settings, f"{number}-{each}", wheels) for each in range(count)]
        for worker in workers:
            assert worker.stdout is not None
            assert await asyncio.to_thread(worker.stdout.readline) == "at work\n"
        for worker in workers:
            await asyncio.sleep(choose.uniform(0, LONGEST_SECONDS / count))
            os.kill(worker.pid, signal.SIGKILL)
        for worker in workers:
            said, _ = await asyncio.to_thread(worker.communicate)
            assert said == "", f"round {number}"
        for environment in await environments.list():
            seen.add(environment.name)
            health = await environments.health(environment.name)
            assert health.problems == (), f"round {number}: {environment}"
            installed = {
                package.name: package.version for package in await environments.packages(environment.name)
            }
            asked = [text.split("sample-")[1].split("-")[0] for text in environment.requirements]
            assert asked == ([installed["sample"]] if "sample" in installed else []), f"round {number}"
        whole = {each.name for each in await environments.list()}
        visible = {entry.name for entry in (settings.home / "environments").iterdir() if entry.name[0] != "."}
        assert visible == whole | {f"{name}.json" for name in whole}
        specs = {entry.name for entry in (settings.home / "jupyter" / "kernels").glob("*")}
        assert specs == whole
    assert seen == {"one", "two"}


def at_work(settings: Settings, seed: str, wheels: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORK, str(settings.home), str(settings.workspace), seed, *wheels],
        stdout=subprocess.PIPE,
        text=True,
    )
