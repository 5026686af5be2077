"""What people type. Each test has a data directory of its own, with the shared layer of ipykernel."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import psutil
import pytest
from typer.testing import CliRunner, Result

from kernel_exec import __version__
from kernel_exec.cli import app
from kernel_exec.environments.trees import linked_copy
from kernel_exec.processes import Completed, run
from kernel_exec.runtime import Runtime
from kernel_exec.settings import Settings
from tests.conftest import OpenSession
from tests.environments.conftest import make_wheel

Cli = Callable[..., Result]
COMMANDS = [
    [],
    *(["serve"], ["demo"], ["run"], ["doctor"], ["top"], ["settings"], ["env"]),
    *(["env", name] for name in ("list", "create", "delete", "install", "uninstall", "packages", "describe")),
    *(["env", name] for name in ("export", "prune", "expose", "hide", "repair", "health", "pythons")),
]


@pytest.fixture
def own_home(runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory; the current directory is an empty workspace."""
    home, workspace = tmp_path / "home", tmp_path / "workspace"
    home.mkdir(mode=0o700)
    workspace.mkdir()
    (home / "layers").symlink_to(runtime.settings.home / "layers")
    monkeypatch.setenv("KERNEL_EXEC_HOME", str(home))
    monkeypatch.chdir(workspace)
    return home


@pytest.fixture
def cli(own_home: Path) -> Cli:
    """Types a command, which must end with *code*."""

    def typed(*arguments: str, code: int = 0, answer: str | None = None) -> Result:
        result = CliRunner().invoke(app, arguments, input=answer)
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return typed


async def in_process(*arguments: str, **variables: str) -> Completed:
    """Runs the program itself."""
    command = [sys.executable, "-m", "kernel_exec", *arguments]
    return await run(command, timeout_seconds=60, env=os.environ | variables)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command) or "kernel-exec")
def test_every_command_and_option_says_what_it_is_for(command: list[str]) -> None:
    text = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"}).output
    options = [line for line in text.splitlines() if re.match(r"│ \*?\s+--", line)]
    assert text.splitlines()[3].strip().endswith((".", ".)"))
    assert all(re.search(r"  [A-Z].*\.|requirements\.txt", line) for line in options), options


def test_the_version_is_shown() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"kernel-exec {__version__}\n"


def test_a_wrong_setting_ends_in_two_lines_and_exit_code_2(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNEL_EXEC_TIMEOUT_SECONDS", "soon")
    result = cli("env", "list", code=2)
    assert result.stdout == ""
    wrong, advice = result.stderr.splitlines()
    assert wrong == "Setting 'timeout_seconds' has the bad value 'soon' (KERNEL_EXEC_TIMEOUT_SECONDS)."
    assert "valid number" in advice


def test_an_error_ends_in_two_lines_and_exit_code_1(cli: Cli) -> None:
    wrong, advice = cli("env", "packages", "nope", code=1).stderr.splitlines()
    assert wrong == "No environment named 'nope'."
    assert advice.startswith("Known environments: none.")


def test_settings_say_where_they_came_from_and_hide_the_token(
    cli: Cli, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERNEL_EXEC_TOKEN", "a-secret-of-some-length")
    (own_home / "config.toml").write_text("queue_limit = 3\n")
    text = cli("settings").output
    assert "a-secret" not in text
    assert re.search(r"^token +\(hidden\) +KERNEL_EXEC_TOKEN +HTTP: bearer token", text, re.MULTILINE)
    assert re.search(rf"^queue_limit +3 +{own_home}/config.toml ", text, re.MULTILINE)
    assert re.search(r"^port +8000 +default ", text, re.MULTILINE)


def test_an_environment_is_made_listed_changed_and_deleted(cli: Cli, tmp_path: Path) -> None:
    assert "No environments yet" in cli("env", "list").output
    made = cli("env", "create", "work", "--offline", "--description", "for the test").output
    assert re.match(r"Environment 'work' is ready: Python 3[\d.]+, \d+ packages\.", made)
    assert re.search(
        r"^work +3\.\S+ +\d+ +\d+ MiB +now +- +for the test *$", cli("env", "list").output, re.MULTILINE
    )

    old, new = (str(make_wheel(Path(), "pebble", version)) for version in ("1.0", "2.0"))
    assert re.search(r"pebble +\(new\) +1\.0", cli("env", "install", "work", f"./{old}", "--offline").output)
    changed = cli("env", "install", "work", f"./{new}", "--offline").output
    assert re.search(r"pebble +1\.0 +2\.0", changed)
    assert "restart_session" in changed
    assert re.search(r"^pebble +2\.0 *$", cli("env", "packages", "work").output, re.MULTILINE)
    cli("env", "describe", "work", "another")
    assert "another" in cli("env", "list").output

    cli("env", "create", "copy", "--clone-from", "work", "--offline")
    cli("env", "export", "copy", "--output", "copy.txt")
    assert "pebble" in Path("copy.txt").read_text()
    assert re.search(r"pebble +2\.0 +\(removed\)", cli("env", "uninstall", "copy", "pebble").output)
    assert "pebble" not in cli("env", "export", "copy").output

    cli("env", "delete", "work", answer="n\n", code=1)
    assert "work" in cli("env", "list").output
    assert "Environment 'work' is deleted." in cli("env", "delete", "work", answer="y\n").stdout
    cli("env", "delete", "copy", "--yes")
    assert "No environments yet" in cli("env", "list").output


def test_an_existing_venv_is_adopted_and_only_forgotten(cli: Cli, runtime: Runtime) -> None:
    linked_copy(runtime.environments.get("default").path, Path("venv"))
    assert "can only be combined" in cli("env", "create", "mine", "six", "--path", "venv", code=1).stderr
    assert "outside the workspace" in cli("env", "create", "mine", "--path", "/usr", code=1).stderr
    cli("env", "create", "mine", "--path", "venv")
    asked = cli("env", "delete", "mine", answer="y\n").stderr
    assert f"Its files in {Path('venv').resolve()} stay." in asked
    assert Path("venv", "pyvenv.cfg").is_file()
    assert "No environments yet" in cli("env", "list").output


def test_a_damaged_environment_is_found_and_repaired(cli: Cli, own_home: Path) -> None:
    cli("env", "create", "work", "--offline")
    assert re.search(r"^work +3\S+ +\d\S+ +\d+ MiB +now +✓", cli("env", "health").output, re.MULTILINE)
    (own_home / "environments" / "work" / "bin" / "python").unlink()
    assert "BROKEN: its Python" in cli("env", "list").output
    sick = cli("env", "health", "work", code=1)
    assert "its Python does not run" in sick.stdout
    assert "env repair" in sick.stderr
    cli("env", "repair", "work", "--offline")
    cli("env", "health", "work")


def test_what_was_not_used_for_a_while_is_pruned(cli: Cli) -> None:
    for name in ("default", "old"):
        cli("env", "create", name, "--offline")
    assert cli("env", "prune", "--unused-for", "1d").output == "Nothing to delete.\n"
    shown = cli("env", "prune", "--unused-for", "0h", "--dry-run").output
    assert re.search(r"^old +now +\d+ MiB", shown, re.MULTILINE)
    cli("env", "prune", "--unused-for", "0h", answer="n\n", code=1)
    assert "old" in cli("env", "list").output
    assert "Deleted 1: old." in cli("env", "prune", "--unused-for", "0h", "--yes").output
    assert "default" in cli("env", "list").output
    assert "12h, 30d or 4w" in cli("env", "prune", "--unused-for", "month", code=2).stderr


def test_jupyter_finds_an_exposed_environment_until_it_is_hidden(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    cli("env", "create", "work", "--offline")
    cli("env", "expose", "work")
    assert (tmp_path / "jupyter" / "kernels" / "kernel-exec-work" / "kernel.json").is_file()
    assert "is hidden" in cli("env", "hide", "work").output
    assert not list((tmp_path / "jupyter" / "kernels").iterdir())
    assert "was not exposed" in cli("env", "hide", "work").output


async def test_an_environment_in_use_by_another_process_is_not_deleted(
    open_session: OpenSession, settings: Settings
) -> None:
    session = await open_session()
    refused = await in_process(
        "env", "delete", session.environment, "--yes", KERNEL_EXEC_HOME=str(settings.home)
    )
    assert refused.returncode == 1
    assert session.name in refused.errors
    assert (await session.execute("6 * 7")).text == "42"


async def test_the_server_writes_nothing_to_stdout_but_the_protocol(own_home: Path) -> None:
    served = await in_process()  # no input: it ends at once
    assert served == Completed(0, "", "")
    refused = await in_process("serve", "--transport", "http", "--port", "99999")
    assert (refused.returncode, refused.output) == (2, "")
    assert "Setting 'port' has the bad value 99999 (argument)." in refused.errors


def test_a_script_runs_with_its_arguments_and_its_output_goes_where_it_wrote_it(cli: Cli) -> None:
    Path("script.py").write_text(
        "import sys\nprint(sys.argv[1:], __name__)\n"
        "print('aside', file=sys.stderr)\nprint(input('name? ') * 2)\n"
    )
    ran = cli("run", "script.py", "--", "-v", "--color", "x", answer="Ada\n")
    assert ran.stdout == "['-v', '--color', 'x'] __main__\nname? AdaAda\n"
    assert ran.stderr == "aside\n"
    assert "met the end of standard input" in cli("run", "script.py", answer="", code=1).stderr


def test_code_that_raises_or_takes_too_long_gives_exit_code_1(cli: Cli) -> None:
    Path("raises.py").write_text("print('before')\n1 / 0\n")
    raised = cli("run", "raises.py", code=1)
    assert raised.stdout == "before\n"
    assert "ZeroDivisionError: division by zero" in raised.stderr
    Path("endless.py").write_text("while True: pass\n")
    assert "interrupted after 0.5 s" in cli("run", "endless.py", "--timeout-seconds", "0.5", code=1).stderr


def test_a_notebook_runs_until_a_cell_raises_and_leaves_as_a_notebook(cli: Cli) -> None:
    sources = ("x = 20", "x + 1", "raise SystemError('here')", "print('never')")
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), "in.ipynb")
    ran = cli("run", "in.ipynb", "--output", "out.ipynb", code=1)
    assert ran.stdout == "21\n"
    assert "SystemError: here" in ran.stderr
    left = nbformat.read("out.ipynb", as_version=4)
    nbformat.validate(left)
    assert [cell.source for cell in left.cells] == [*sources[:3]]
    assert "out.txt must end in .ipynb" in cli("run", "in.ipynb", "--output", "out.txt", code=2).stderr


def test_megabytes_of_output_arrive_whole_and_in_order(cli: Cli) -> None:
    Path("long.py").write_text("for number in range(200_000): print(number)\n")
    assert cli("run", "long.py").stdout == "".join(f"{number}\n" for number in range(200_000))


async def test_a_signal_ends_the_kernel_of_a_run(own_home: Path) -> None:
    Path("endless.py").write_text("import time\nprint('begun', flush=True)\nwhile True: time.sleep(0.1)\n")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kernel_exec", "run", "endless.py"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"begun\n"
    kernels = psutil.Process(process.pid).children(recursive=True)
    assert kernels
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 30) == 128 + signal.SIGTERM
    running = [kernel for kernel in kernels if kernel.is_running()]
    assert not [kernel for kernel in running if kernel.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
async def test_top_shows_what_the_sessions_of_another_process_use(
    open_session: OpenSession, settings: Settings
) -> None:
    session, idle = await open_session(), await open_session()
    running = session.submit("while True: pass  # busy")
    home = {"KERNEL_EXEC_HOME": str(settings.home)}
    shown = await in_process("top", "--once", **home)
    await session.cancel(running)
    lines = {line.split()[0]: line.split() for line in shown.output.splitlines()}
    assert lines["session"][:2] == ["session", "environment"]
    assert lines[session.name][1:3] == [session.environment, "running"]
    assert int(lines[session.name][3]) > 20
    assert lines[session.name][-1] == "busy"
    assert lines[idle.name][2] == "idle"
    assert int(lines[idle.name][4]) > 10
    assert "no session" in (await in_process("top", KERNEL_EXEC_HOME=str(settings.workspace))).output.lower()
