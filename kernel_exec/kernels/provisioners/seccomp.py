"""The system calls that sandboxed code may not make, compiled for the kernel of this machine."""

import errno
import os
import socket
from functools import cache

__all__ = ["compiled"]

# What changes the machine, looks into other processes, or has a long record of holes. The same calls
# that container engines refuse: https://docs.docker.com/engine/security/seccomp
REFUSED = """
    acct add_key bpf clock_adjtime clock_settime delete_module fanotify_init finit_module fsconfig
    fsmount fsopen fspick init_module ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie
    mount mount_setattr move_mount name_to_handle_at open_by_handle_at open_tree perf_event_open
    pidfd_getfd pivot_root process_madvise process_vm_readv process_vm_writev ptrace quotactl reboot
    request_key setdomainname sethostname setns settimeofday swapoff swapon syslog umount2 unshare
    userfaultfd vhangup
"""
# Answered as an older Linux would. clone3 keeps its flags in memory, where no filter sees them; the C
# library then uses clone. io_uring makes system calls that no filter sees.
UNKNOWN = ["clone3", "io_uring_setup", "io_uring_enter", "io_uring_register"]
# Nothing counts what is reserved; the C library writes instead, and that is counted.
UNSUPPORTED = ["fallocate"]
NEW_NAMESPACES = [
    0x00000080,  # CLONE_NEWTIME
    0x00020000,  # CLONE_NEWNS
    0x02000000,  # CLONE_NEWCGROUP
    0x04000000,  # CLONE_NEWUTS
    0x08000000,  # CLONE_NEWIPC
    0x10000000,  # CLONE_NEWUSER
    0x20000000,  # CLONE_NEWPID
    0x40000000,  # CLONE_NEWNET
]
TIOCSTI, TIOCLINUX = 0x5412, 0x541C  # type into the terminal
INTERNET = [socket.AF_INET, socket.AF_INET6]
# Netlink to the routing tables is what libzmq and getaddrinfo need; others list every socket there is.
NETLINK, NETLINK_ROUTE = 16, 0
LAST_FAMILY = 64


@cache
def compiled(*, internet: bool) -> bytes:
    """The filter as a BPF program; without *internet* it also refuses sockets that reach any network.

    Raises: OSError or RuntimeError, when libseccomp is not there.
    """
    # Here, because it needs a library of the system.
    import pyseccomp as seccomp  # type: ignore[import-untyped]

    program = seccomp.SyscallFilter(seccomp.ALLOW)
    refuse = seccomp.ERRNO(errno.EPERM)
    no_access = seccomp.ERRNO(errno.EACCES)

    def rule(action: int, call: str, *arguments: seccomp.Arg) -> None:
        if seccomp.resolve_syscall(seccomp.system_arch(), call) >= 0:  # else unknown to this machine
            program.add_rule(action, call, *arguments)

    def low(argument: int, value: int) -> seccomp.Arg:
        # The kernel takes an int from the low half of the register, whatever the high half holds.
        return seccomp.Arg(argument, seccomp.MASKED_EQ, 0xFFFFFFFF, value)

    for call in REFUSED.split():
        rule(refuse, call)
    for call in UNKNOWN:
        rule(seccomp.ERRNO(errno.ENOSYS), call)
    for call in UNSUPPORTED:
        rule(seccomp.ERRNO(errno.EOPNOTSUPP), call)
    for flag in NEW_NAMESPACES:
        rule(refuse, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, flag, flag))
    for request in (TIOCSTI, TIOCLINUX):
        rule(refuse, "ioctl", low(1, request))
    allowed = [socket.AF_UNIX, NETLINK, *(INTERNET if internet else [])]
    for family in range(LAST_FAMILY):
        if family not in allowed:
            rule(no_access, "socket", low(0, family))
    rule(refuse, "socket", low(0, NETLINK), seccomp.Arg(2, seccomp.NE, NETLINK_ROUTE))
    return _exported(program.export_bpf)


def _exported(export: object) -> bytes:
    descriptor = os.memfd_create("filter")
    with os.fdopen(descriptor, "r+b") as file:
        export(file)  # type: ignore[operator]
        file.seek(0)
        return file.read()
