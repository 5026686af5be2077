"""Limits by the user's systemd: a real one, started in a mount namespace with control groups of version 2."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kernel_exec.kernels import scopes
from kernel_exec.kernels.scopes import find_scopes

SYSTEMD = "/lib/systemd/systemd"
NAMESPACE = """
set -e
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs none /run/systemd
mkdir /run/systemd/system
mkdir -p /sys/fs/cgroup/$NAME/init
echo $$ > /sys/fs/cgroup/$NAME/init/cgroup.procs
{systemd} --user --unit=basic.target &
manager=$!
for attempt in $(seq 200); do [ -S $XDG_RUNTIME_DIR/bus ] && break; sleep 0.05; done
outcome=0
$PYTHON -c "$CODE" || outcome=$?
kill $manager
wait $manager || true
echo $$ > /sys/fs/cgroup/cgroup.procs
find /sys/fs/cgroup/$NAME -depth -type d -exec rmdir {{}} +
exit $outcome
"""
# The controllers are said to be there: on a machine that has them elsewhere, systemd ignores the limits.
CODE = """
import json, subprocess
from kernel_exec.kernels.cgroups import Hierarchy
from kernel_exec.kernels.scopes import MOUNT_POINT, Scopes, _property, MANAGER

root = MOUNT_POINT / _property(*MANAGER, "ControlGroup").lstrip("/")
scopes = Scopes("a1", 1 << 30, Hierarchy(2, root, frozenset({"memory", "pids", "cpu"})))
group = scopes.create("k1", memory_bytes=1 << 29, processes=64, cpu_cores=1.5)
before = group.pids()
sleepers = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]
for one in sleepers:
    group.add(one.pid)
unit = "/org/freedesktop/systemd1/unit/kernel_2dexec_2da1_2dk1_2escope"
names = ("MemoryMax", "TasksMax", "CPUQuotaPerSecUSec", "Slice")
found = {name: _property(unit, "org.freedesktop.systemd1.Scope", name) for name in names}
inside = group.pids() == sorted(one.pid for one in sleepers)
group.remove()
ended = [one.wait(timeout=10) for one in sleepers]
third = subprocess.Popen(["sleep", "600"])
scopes.create("k2", memory_bytes=1 << 29, processes=64, cpu_cores=None).add(third.pid)
Scopes.sweep("a1")
print(json.dumps([before, inside, found, ended, third.wait(timeout=10)]))
"""


def test_without_a_systemd_of_the_user_there_are_no_scopes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent")
    assert find_scopes("a1", 1 << 30) is None
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert find_scopes("a1", 1 << 30) is None
    scopes.Scopes.sweep("a1")


@pytest.mark.slow
@pytest.mark.skipif(
    not (sys.platform == "linux" and os.getuid() == 0 and Path(SYSTEMD).exists() and shutil.which("busctl")),
    reason="needs root, systemd and busctl, to start a systemd --user in a namespace",
)
def test_a_scope_holds_the_processes_with_its_limits_and_ends_them(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="kx") as run:
        _in_a_namespace(tmp_path, run)


def _in_a_namespace(tmp_path: Path, run: str) -> None:
    name = f"kernel-exec-test-{os.getpid()}"
    variables = {
        **{key: value for key, value in os.environ.items() if not key.startswith("DBUS_")},
        **{"XDG_RUNTIME_DIR": run, "NAME": name, "PYTHON": sys.executable, "CODE": CODE},
    }
    # Files, not pipes: what a failure leaves behind would keep those open.
    with (tmp_path / "output").open("w") as stdout, (tmp_path / "errors").open("w") as stderr:
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", NAMESPACE.format(systemd=SYSTEMD)],
            env=variables,
            stdout=stdout,
            stderr=stderr,
            timeout=60,
        )
    output, errors = (tmp_path / "output").read_text(), (tmp_path / "errors").read_text()
    if "mount:" in errors:
        pytest.skip(errors)
    assert done.returncode == 0, errors
    limits = {"MemoryMax": 1 << 29, "TasksMax": 64, "CPUQuotaPerSecUSec": 1_500_000}
    found = {**limits, "Slice": "kernelexeca1.slice"}
    assert json.loads(output.splitlines()[-1]) == [[], True, found, [-9, -9], -15]
