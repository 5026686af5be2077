"""What hostile code tries, and what becomes of it at each level: the table of README, as a test reads it.

The code succeeds by ending without an exception; `{names}` are filled in from the scene of the test.
"""

import platform
from dataclasses import dataclass
from typing import Literal

LEVELS = ("none", "landlock", "bubblewrap", "container")

# possible: it happens. refused: it raises. contained: it happens, to the code's own world only.
# limited: it is stopped at a limit of the session.
Outcome = Literal["possible", "refused", "contained", "limited"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """*outcomes* are in the order of `LEVELS`; None where the user decides what may happen, which is
    not tried."""

    name: str
    title: str
    code: str
    outcomes: tuple[Outcome | None, Outcome, Outcome, Outcome]

    def outcome(self, level: str) -> Outcome | None:
        return self.outcomes[LEVELS.index(level)]


def refused(name: str, title: str, code: str) -> Attempt:
    """Possible without isolation, refused with any."""
    return Attempt(name, title, code, ("possible", "refused", "refused", "refused"))


def limited(name: str, title: str, code: str) -> Attempt:
    """Stopped at a limit, with any isolation or none."""
    return Attempt(name, title, code, ("limited", "limited", "limited", "limited"))


def contained(name: str, title: str, code: str) -> Attempt:
    """Of no effect outside, with any isolation or none."""
    return Attempt(name, title, code, ("contained", "contained", "contained", "contained"))


SYSTEM_CALL = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def call(function, *arguments):
    "EPERM is the refusal; any other error shows that the kernel looked at the arguments."
    if function(*arguments) < 0 and ctypes.get_errno() in (errno.EPERM, errno.EACCES, errno.ESRCH):
        raise PermissionError(ctypes.get_errno())
"""
NUMBERS = {"x86_64": (313, 321, 227), "aarch64": (273, 280, 112)}
FINIT_MODULE, BPF, CLOCK_SETTIME = NUMBERS.get(platform.machine(), (-1, -1, -1))

DETACH = "import os, time\\nif os.fork() == 0:\\n os.setsid()\\n if os.fork() == 0:\\n  time.sleep(600)"
DAEMON = f"""
import subprocess, sys
detach = "{DETACH}"
subprocess.Popen([sys.executable, "-c", detach, "{{daemon}}"], env={{variables}}).wait()
"""

# It happened when the other session has made the file.
FORGE = """
import json, pathlib, time, jupyter_client.session, zmq
forger = jupyter_client.session.Session(key={key})
execute = {{{{
    "code": "open('forged', 'w')", "silent": False, "store_history": True, "user_expressions": {{{{}}}}
}}}}
with zmq.Context() as context:
    for path, kind, content in ({messages}):
        with context.socket(zmq.DEALER) as socket:
            socket.linger = 500
            socket.connect("ipc://" + path)
            forger.send(socket, kind, content)
            socket.send_multipart([b"no", b"message"])
time.sleep(1)
assert pathlib.Path("forged").exists()
"""
EXECUTE = "({socket!r}, 'execute_request', execute), "
ELSE = "({control!r}, 'execute_request', execute), ({control!r}, 'shutdown_request', {{'restart': False}})"

INTRUSIONS = (
    # Files
    refused("read_key", "read `~/.ssh`", "open({key!r}).read()"),
    refused("read_data", "read the server's settings, token and history", "open({config!r}).read()"),
    refused(
        "list_kernels",
        "find the runtime directories of other sessions",
        "import os; assert len(os.listdir({runtime!r})) > 2",
    ),
    refused("read_connection", "read another session's connection file", "open({connection!r}).read()"),
    refused(
        "read_environ", "read the server's environment variables", "open('/proc/{server}/environ').read()"
    ),
    refused("write_outside", "write outside the workspace", "open({outside!r} + '/new', 'w').write('x')"),
    refused("overwrite", "overwrite a file outside", "open({key!r}, 'w').write('x')"),
    refused("truncate", "truncate a file outside", "import os; os.truncate({key!r}, 0)"),
    refused("delete", "delete a file outside", "import os; os.unlink({key!r})"),
    Attempt(
        "dotdot",
        "write outside through `..`",
        "open('../new', 'w').write('x')",
        ("possible", "refused", "contained", "contained"),
    ),
    refused(
        "symlink",
        "write outside through a symbolic link",
        "import os; os.path.lexists('s') or os.symlink({outside!r}, 's'); open('s/new', 'w').write('x')",
    ),
    refused(
        "hardlink",
        "write outside through a hard link",
        "import os; os.path.lexists('h') or os.link({key!r}, 'h'); open('h', 'a').write('x')",
    ),
    refused("environment", "write into the environment", "open({environment!r} + '/new.py', 'w').write('x')"),
    Attempt(
        "chmod",
        "change the permissions of a file outside",
        "import os; os.chmod({key!r}, 0o777)",
        ("possible", "possible", "refused", "refused"),
    ),
    refused(
        "variables",
        "see the server's API keys in its own variables",
        "import os; os.environ['SECRET_API_KEY']",
    ),
    # Processes
    refused("see_process", "see another process", "open('/proc/{victim}/cmdline').read()"),
    refused("signal_process", "signal another process", "import os; os.kill({victim}, 18)"),
    Attempt(
        "kill_parent",
        "kill its own parent",
        "import os; os.kill(os.getppid(), {fatal})",
        ("possible", "refused", "contained", "contained"),
    ),
    refused("ptrace", "trace another process", SYSTEM_CALL + "call(libc.ptrace, 16, {victim}, 0, 0)"),
    # Network, which is off
    refused(
        "loopback",
        "connect to a service of the host",
        "import socket; socket.create_connection(('127.0.0.1', {port}))",
    ),
    refused(
        "internet",
        "send a packet to another machine",
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))",
    ),
    refused(
        "abstract_socket",
        "connect to an abstract socket of the host",
        "import socket; socket.socket(socket.AF_UNIX).connect(chr(0) + {abstract!r})",
    ),
    Attempt(
        "dns",
        "resolve a name",
        "import socket; socket.getaddrinfo('example.org', 80)",
        (None, "refused", "refused", "refused"),
    ),
    Attempt(
        "packet_socket",
        "open a packet socket",
        "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
        (None, "refused", "refused", "refused"),
    ),
    Attempt(
        "known_socket",
        "connect to another session's socket, its secret path known",
        "import socket; socket.socket(socket.AF_UNIX).connect({socket!r})",
        ("possible", "possible", "refused", "refused"),
    ),
    Attempt(
        "socket_paths",
        "find the paths of other sockets",
        "assert {socket!r} in open('/proc/net/unix').read()",
        ("possible", "refused", "refused", "refused"),
    ),
    Attempt(
        "forged_messages",
        "forge messages to another session, its socket known, but not its key",
        FORGE.format(key="b'wrong'", messages=EXECUTE + ELSE),
        ("refused", "refused", "refused", "refused"),
    ),
    refused(
        "signed_messages",
        "the same, with the key from its connection file",
        FORGE.format(key="json.load(open({connection!r}))['key'].encode()", messages=EXECUTE),
    ),
    # The system's kernel
    *(
        Attempt(name, title, SYSTEM_CALL + code, (None, "refused", "refused", "refused"))
        for name, title, code in (
            ("mount", "mount a file system", "call(libc.mount, b'none', b'.', b'tmpfs', 0, None)"),
            ("unshare", "make a user namespace", "call(libc.unshare, 0x10000000)"),
            ("chroot", "change the root directory", "call(libc.chroot, b'/')"),
            ("load_module", "load a kernel module", f"call(libc.syscall, {FINIT_MODULE}, -1, b'', 0)"),
            ("bpf", "load a BPF program", f"call(libc.syscall, {BPF}, 5, None, 0)"),
            ("set_clock", "set the clock", f"call(libc.syscall, {CLOCK_SETTIME}, 0, None)"),
        )
    ),
    Attempt(
        "type_into_terminal",
        "type into a terminal (TIOCSTI)",
        "import fcntl, os, pty\nfor name in pty.openpty(): fcntl.ioctl(name, 0x5412, b'x')",
        (None, "refused", "refused", "refused"),
    ),
    # The end of the session
    Attempt(
        "daemon",
        "survive the session's end: double fork, own session",
        DAEMON.replace("{variables}", "None"),
        ("contained", "contained", "contained", "contained"),
    ),
    Attempt(
        "bare_daemon",
        "the same, without the variables that mark its processes",
        DAEMON.replace("{variables}", "{{}}"),
        (None, "contained", "contained", "contained"),
    ),
    Attempt(
        "at_exit",
        "start something as the session ends",
        "import atexit\ndef again():"
        + DAEMON.replace("{variables}", "None").replace("\n", "\n ")
        + "\natexit.register(again)",
        ("contained", "contained", "contained", "contained"),
    ),
)

BOMB = """
import os
first = os.getpid()
while True:
    try:
        os.fork()
    except OSError:
        if os.getpid() == first:
            raise
"""
MAKE_FILES = "for n in range(10**7): open(f'{{directory}}/{name}-{{n}}', 'w').close()"

EXHAUSTIONS = (
    limited(
        "fork_bomb",
        "a fork bomb",
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BOMB!r}], check=True)",
    ),
    limited("memory", "64 GB of memory", "x = bytearray(64 * 10**9)"),
    limited(
        "shared_memory",
        "64 GB of memory shared with children",
        "import mmap\nmaps = []\nwhile len(maps) < 64:\n  maps.append(mmap.mmap(-1, 10**9))\n"
        "  for at in range(0, 10**9, 4096): maps[-1][at] = 1",
    ),
    limited("sparse_file", "a sparse file of 100 GB", "open('{name}', 'wb').truncate(100 * 10**9)"),
    limited(
        "large_file",
        "a file of 100 GB",
        "with open('{name}', 'wb') as f:\n  for _ in range(100_000): f.write(bytes(10**6))",
    ),
    limited(
        "disk",
        "100 GB in many files",
        "for n in range(50_000):\n  with open(f'{name}-{{n}}', 'wb') as f: f.write(bytes(2 * 10**6))",
    ),
    Attempt(
        "reserve_disk",
        "reserve 100 GB without writing",
        "import os\nfor n in range(50_000):\n"
        "  with open(f'{name}-{{n}}', 'wb') as f: os.posix_fallocate(f.fileno(), 0, 2 * 10**6)",
        (None, "limited", "limited", "limited"),
    ),
    limited("files", "10 million files in the workspace", "directory = '.'\n" + MAKE_FILES),
    limited(
        "temporary_files",
        "10 million files in `/tmp`",
        "import tempfile; directory = tempfile.gettempdir()\n" + MAKE_FILES,
    ),
    limited("open_files", "a flood of open files", "files = []\nwhile True: files.append(open('/dev/null'))"),
    limited(
        "cpu",
        "keep all cores busy for ever",
        "import os, subprocess, sys\nspin = [sys.executable, '-c', 'while True: pass']\n"
        "for _ in range(os.cpu_count()): subprocess.Popen(spin)\nwhile True: pass",
    ),
    limited(
        "output",
        "a line of output of 1 GB",
        "import sys, time\nfor _ in range(1_000): sys.stdout.write('x' * 10**6); time.sleep(.002)",
    ),
)

ESCAPES = (
    r"\x1b]0;title\x07\x1b]52;c;ZXZpbA==\x07\x1bP+q544e\x1b\\\x1b[2J\x1b[6n\x1b[?1049h\x9b31m\x1b[8mhidden"
)
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)><a href='javascript:alert(3)'>shown</a>"
PICKLE = """
import base64, io, pickle, IPython.display
class Evil:
    def __reduce__(self):
        return io.open, ({unpickled!r}, "w")
data = base64.b64encode(pickle.dumps(Evil())).decode()
for kind in ("application/x-python-pickle", "application/octet-stream", "image/png"):
    IPython.display.display({{kind: data}}, raw=True)
"""

OUTPUTS = (
    contained("escapes", "send escape sequences to the reader's terminal", f"print('{ESCAPES}')"),
    contained(
        "markup",
        "show the reader HTML that runs a script",
        f'import IPython.display; IPython.display.display({{{{"text/html": "{MARKUP}"}}}}, raw=True)',
    ),
    contained("pickle", "have the server unpickle an output", PICKLE),
)

ATTEMPTS = (*INTRUSIONS, *EXHAUSTIONS, *OUTPUTS)
