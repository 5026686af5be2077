"""Restricts its own process, then becomes the command: `launcher.py OPTION=VALUE … -- COMMAND …`.

Standard library only, for Python 3.8 and later: inside bubblewrap it is run by the environment's own
interpreter. It imports little, because every start of a kernel waits for it. The options may be repeated:

- `read`, `write`: a path; when given, Landlock allows these and nothing else
- `scope=1`: no signals and no abstract sockets to the outside
- `seccomp`: the file descriptor, or the path, of a compiled filter
- `limit`: a resource limit, as `RLIMIT_NOFILE:soft:hard`
- `variable`: one more environment variable for the command, as `NAME=value`
- `supervise=1`: stay as the parent, and end all that the command has started when it or the server ends

What cannot be had ends the process with a message: nothing runs with less protection than was asked for.

https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import stat
import sys
import time

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on every architecture
ASK_VERSION = 1
PATH_BENEATH = 1
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 24, 22, 38
PR_SET_CHILD_SUBREAPER = 36
SIGNALLED = 128  # as shells report a process that a signal ended
SECCOMP_MODE_FILTER = 2
LAST_CAPABILITY = 63

EXECUTE, WRITE_FILE, READ_FILE, READ_DIRECTORY = 1 << 0, 1 << 1, 1 << 2, 1 << 3
MAKE_CHARACTER_DEVICE, MAKE_BLOCK_DEVICE = 1 << 6, 1 << 11
TRUNCATE, DEVICE_IOCTL = 1 << 14, 1 << 15
ALL = (1 << 16) - 1
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | DEVICE_IOCTL
READ = EXECUTE | READ_FILE | READ_DIRECTORY
WRITE = ALL & ~MAKE_CHARACTER_DEVICE & ~MAKE_BLOCK_DEVICE
NO_ABSTRACT_SOCKETS, NO_SIGNALS = 1, 2
SCOPE_VERSION = 6  # the first that can keep signals and abstract sockets inside: Linux 6.12

libc = ctypes.CDLL(None, use_errno=True)


class Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr"""

    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scope", ctypes.c_uint64))


class Beneath(ctypes.Structure):
    """struct landlock_path_beneath_attr"""

    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


class Program(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def checked(result: int, what: str) -> int:
    """The result of a system call; ends the process if it failed."""
    if result < 0:
        number = ctypes.get_errno()
        sys.exit(f"kernel-exec: {what}: {os.strerror(number)}")
    return result


def prctl(option: int, *arguments: int) -> int:
    """Prctl with all arguments as wide as the kernel reads them."""
    result: int = libc.prctl(option, *(ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]))
    return result


def landlock_version() -> int:
    """The version of Landlock's interface; 0 when this Linux has none or it is switched off."""
    version: int = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ASK_VERSION)
    return max(0, version)


def restrict(read: list[str], write: list[str], scope: bool) -> None:
    """Landlock; files are not restricted when nothing is named."""
    files = ALL if read else 0
    scoped = NO_ABSTRACT_SOCKETS | NO_SIGNALS if scope else 0
    attributes = Ruleset(files, 0, scoped)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    rules = checked(libc.syscall(CREATE_RULESET, ctypes.byref(attributes), size, 0), "Landlock")
    for paths, access in ((read, READ), (write, WRITE)):
        for path in paths:
            allow(rules, path, access)
    checked(libc.syscall(RESTRICT_SELF, rules, 0), "Landlock")
    os.close(rules)


def allow(rules: int, path: str, access: int) -> None:
    """Add a rule for what is at *path*, if there is anything."""
    try:
        descriptor = os.open(path, os.O_PATH)
    except OSError:
        return
    if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
        access &= OF_FILES
    rule = Beneath(access, descriptor)
    checked(libc.syscall(ADD_RULE, rules, PATH_BENEATH, ctypes.byref(rule), 0), f"Landlock, {path}")
    # A rule follows the inode, and /proc makes a new one when memory gets short, unless it is in use.
    if path.startswith("/proc/"):
        os.set_inheritable(descriptor, True)
    else:
        os.close(descriptor)


def supervise() -> None:
    """Return in a new child. In this process, wait for the child's end, then end all that it has left:
    orphans become children of this process, however they were detached.
    """
    checked(prctl(PR_SET_CHILD_SUBREAPER, 1), "subreaper")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the command
    signal.signal(signal.SIGTERM, lambda *_: finish(SIGNALLED + signal.SIGKILL))
    checked(prctl(PR_SET_PDEATHSIG, signal.SIGTERM), "parent death signal")
    child = os.fork()
    if child == 0:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.environ["JPY_PARENT_PID"] = str(os.getppid())
        return
    while True:
        ended, status = os.wait()
        if ended == child:
            finish(SIGNALLED + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def finish(code: int) -> None:
    """Kill until there is no descendant, then exit. Stopped first, so that none can outrun the killing."""
    while True:
        left = descendants(os.getpid())
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in left:
                try:
                    os.kill(process, number)
                except ProcessLookupError:
                    pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            os._exit(code)
        time.sleep(0.005)


def descendants(ancestor: int) -> list[int]:
    """All processes below one, from what /proc tells of each one's parent."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
            except OSError:
                pass  # ended meanwhile
    found = [ancestor]
    for process in found:  # it grows meanwhile
        found += [child for child, parent in parents.items() if parent == process]
    return found[1:]


def main(arguments: list[str]) -> None:
    """Restrict, in the order in which each step still may be taken, then run the command."""
    end = arguments.index("--")
    options: dict[str, list[str]] = {}
    for argument in arguments[:end]:
        name, _, value = argument.partition("=")
        options.setdefault(name, []).append(value)
    command = arguments[end + 1 :]
    if "supervise" in options:
        supervise()
    parent = os.getppid()
    checked(prctl(PR_SET_PDEATHSIG, signal.SIGKILL), "parent death signal")
    if os.getppid() != parent:
        sys.exit("kernel-exec: the server has ended")
    os.environ.update(dict(one.split("=", 1) for one in options.get("variable", [])))
    for limit in options.get("limit", []):
        name, soft, hard = limit.split(":")
        resource.setrlimit(getattr(resource, name), (int(soft), int(hard)))
    for capability in range(LAST_CAPABILITY + 1):
        prctl(PR_CAPBSET_DROP, capability)  # an ordinary user has none and may drop none
    checked(prctl(PR_SET_NO_NEW_PRIVS, 1), "no new privileges")
    if "read" in options or "scope" in options:
        restrict(options.get("read", []), options.get("write", []), "scope" in options)
    for filter_file in options.get("seccomp", []):
        with open(int(filter_file) if filter_file.isdigit() else filter_file, "rb") as file:
            code = file.read()
        program = Program(len(code) // 8, code)
        address = ctypes.addressof(program)
        checked(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, address), "seccomp")
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
