"""The commands that start a sandbox, as pure functions of what may be seen."""

from pathlib import Path

import pytest

from kernel_exec.kernels.provisioners import bubblewrap, container, landlock
from kernel_exec.kernels.provisioners.base import allowed
from kernel_exec.kernels.provisioners.seccomp import compiled
from kernel_exec.kernels.provisioners.view import View, python_paths

WORKSPACE, RUN = Path("/srv/work"), Path("/srv/run")


def view(**how: object) -> View:
    return View(RUN, WORKSPACE, (WORKSPACE,), (WORKSPACE / ".venv",), **how)  # type: ignore[arg-type]


def bwrap(seen: View) -> str:
    how = {"bwrap": "bwrap", "seccomp": 3, "info": 4, "marks": {}, "tmp_bytes": 10}
    return " ".join(bubblewrap.command(["python", "x"], seen, **how))


def test_the_environment_is_read_only_even_inside_the_workspace() -> None:
    line = bwrap(view())
    assert line.index("--bind /srv/work /srv/work") < line.index("--ro-bind /srv/work/.venv")


def test_what_is_hidden_lies_on_top_of_what_is_shown(tmp_path: Path) -> None:
    seen = View(RUN, tmp_path, (tmp_path,), (tmp_path / "data" / "venv",), (tmp_path / "data",))
    (tmp_path / "data").mkdir()
    line = bwrap(seen)
    shown, hidden = line.index(f"--bind {tmp_path} "), line.index(f"--tmpfs {tmp_path}/data ")
    assert shown < hidden < line.index(f"--ro-bind {tmp_path}/data/venv")


@pytest.mark.parametrize(("network", "apart"), [("on", False), ("off", True), ("allow-list", True)])
def test_a_network_that_is_not_on_is_a_namespace(network: str, apart: bool) -> None:
    assert ("--unshare-net" in bwrap(view(network=network))) is apart
    line = container.command(["x"], view(network=network), engine="podman", image="i", options=[])
    assert ("--network=none" in line) is apart


def test_the_program_comes_after_all_options() -> None:
    assert bwrap(view()).endswith("--seccomp 3 --info-fd 4 -- python x")
    line = container.command(
        ["python", "x"], view(), engine="/bin/podman", image="image", options=["--name", "n"]
    )
    assert line[-3:] == ["image", "python", "x"]
    assert {"--rm", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"} <= set(line)


def test_landlock_allows_no_list_of_processes_and_no_terminal_of_the_host() -> None:
    read, write = landlock.paths(view())
    assert not {"/", "/proc", "/proc/self", "/proc/net", "/tmp", "/dev", "/etc"} & {*read, *write}
    assert [path for path in write if path.startswith("/srv")] == ["/srv/work", "/srv/run"]


def test_only_listed_variables_are_passed_on() -> None:
    variables = {"LANG": "C", "LC_ALL": "C", "API_KEY": "x", "LANGUAGES": "x"}
    assert allowed(variables, ["LANG", "LC_*"]) == {"LANG": "C", "LC_ALL": "C"}


def test_a_venv_needs_the_installation_that_it_was_made_from(tmp_path: Path) -> None:
    base, venv = tmp_path / "python-3.12", tmp_path / "venv"
    for directory in (base / "bin", venv / "bin"):
        directory.mkdir(parents=True)
    (base / "bin" / "python3").touch()
    (venv / "bin" / "python").symlink_to(base / "bin" / "python3")
    (venv / "pyvenv.cfg").write_text(f"home = {base / 'bin'}\n")
    assert set(python_paths(venv / "bin" / "python")) == {venv, base}
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\n")
    assert Path("/usr") not in python_paths(venv / "bin" / "python")
    assert Path("/") not in python_paths(Path("/bin/python3"))


def test_the_filter_is_compiled_once() -> None:
    assert compiled(internet=True) is compiled(internet=True)
    assert len(compiled(internet=True)) % 8 == 0
    assert compiled(internet=True) != compiled(internet=False)
