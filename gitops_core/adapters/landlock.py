"""Takes from the calling thread for good what a program that it starts shall not have: files, network, processes.

Landlock, no_new_privs and seccomp hold for a thread and for the processes that it starts, and not for its siblings. So
a thread that was made for it restricts itself, starts a program and ends; nothing else of this process is touched, and
no code runs between fork and exec.

    files       only those below the given paths can be opened, none of them to write          Landlock
    network     no TCP from ABI 4 of Landlock on; no sockets of any kind                       seccomp
    processes   none besides the program (its threads are free); no signals, no debugging      seccomp, Landlock ABI 6

Source: the kernel's Documentation/userspace-api/landlock.rst and seccomp_filter.rst; include/uapi/linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import platform
import stat
import struct
from collections.abc import Iterable
from typing import NamedTuple

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on all architectures
_RULE_PATH_BENEATH = 1
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_RIGHTS_OF_ABI = {1: 13, 2: 14, 3: 15, 4: 15}  # how many kinds of file access there are; 16 from ABI 5 on
_TCP = 0b11  # bind, connect
_SCOPES = 0b11  # abstract sockets, signals
_SET_NO_NEW_PRIVS, _SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_KILL, _ALLOW, _ERRNO = 0x80000000, 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_CLONE_THREAD, _CLONE_VFORK_VM = 0x10000, 0x4100
_X32 = 0x40000000


class _Machine(NamedTuple):
    """Numbers of system calls; `forking` are the flags with which clone may make a process after all."""

    audit: int
    clone: int
    sockets: tuple[int, ...]
    refused: tuple[int, ...]
    forking: int


# Since Linux 5.1 numbers are the same everywhere: pidfd_send_signal, io_uring_*, open_tree, move_mount, fs*,
# pidfd_open, pidfd_getfd, mount_setattr.
_EVERYWHERE = (424, 425, 426, 427, 428, 429, 430, 431, 432, 433, 434, 438, 442)
_CLONE3 = 435
MACHINES = {
    # socket connect accept sendto sendmsg bind listen socketpair; fork kill ptrace process_vm_*; unshare setns mount
    # umount2 pivot_root chroot; bpf perf_event_open keyctl add_key request_key userfaultfd *_handle_at memfd_create;
    # kexec_load *_module; System V and POSIX queues, semaphores and memory. vfork stays: it starts the program itself.
    "x86_64": _Machine(
        0xC000003E,
        56,
        (41, 42, 43, 44, 46, 49, 50, 53),
        (
            *(57, 62, 101, 310, 311, 272, 308, 165, 166, 155, 161),
            *(321, 298, 250, 248, 249, 323, 303, 304, 319, 246, 175, 176, 313, 240, 29, 30, 64, 68),
        ),
        0,
    ),
    # there is no vfork: it is a clone with these flags
    "aarch64": _Machine(
        0xC00000B7,
        220,
        (198, 203, 202, 206, 211, 200, 201, 199),
        (
            *(129, 117, 270, 271, 97, 268, 40, 39, 41, 51),
            *(280, 241, 219, 217, 218, 282, 264, 265, 279, 104, 105, 106, 273, 180, 194, 196, 190, 186),
        ),
        _CLONE_VFORK_VM,
    ),
}


def read_abi() -> int:
    """Return the version of Landlock that this kernel has; 0 for none."""
    return max(int(_load_library().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))), 0)


def has_filters() -> bool:
    """Tell whether we know this machine's system calls."""
    return platform.machine() in MACHINES


def restrict_files(
    readable: Iterable[str], executable: Iterable[str], version: int, *, may_connect: bool = False
) -> None:
    """Leave to this thread the files in or below `readable`, and those in or below `executable` to read and run.

    Args:
        may_connect: whether TCP stays possible.

    Raises:
        OSError: a path is not there, or the kernel refuses.
    """
    library = _load_library()
    kinds = (1 << _RIGHTS_OF_ABI.get(version, 16)) - 1
    attributes = struct.pack("QQQ", kinds, 0 if may_connect else _TCP, _SCOPES)[
        : 8 if version < 4 else 16 if version < 6 else 24
    ]
    ruleset = _check(library.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0))
    try:
        for path in readable:
            _allow(library, ruleset, path, _READ_FILE | _READ_DIR)
        for path in executable:
            _allow(library, ruleset, path, _READ_FILE | _READ_DIR | _EXECUTE)
        forbid_new_privileges()
        _check(library.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def restrict_calls(*, may_fork: bool = False, may_connect: bool = False) -> None:
    """Take sockets, other processes and what reaches into the kernel from this thread. Raises OSError.

    Args:
        may_connect: whether sockets stay possible.
        may_fork: whether making a process stays possible, where the program is not started by vfork.
    """
    machine = MACHINES[platform.machine()]
    lines = [
        struct.pack("HBBI", 0x20, 0, 0, 4),  # the architecture of the call
        struct.pack("HBBI", 0x15, 1, 0, machine.audit),
        struct.pack("HBBI", 0x06, 0, 0, _KILL),
        struct.pack("HBBI", 0x20, 0, 0, 0),  # its number
    ]
    if platform.machine() == "x86_64":
        lines += [struct.pack("HBBI", 0x35, 0, 1, _X32), struct.pack("HBBI", 0x06, 0, 0, _ERRNO | _EPERM)]
    numbers = (*(() if may_connect else machine.sockets), *machine.refused, *_EVERYWHERE)
    refused = [(number, _EPERM) for number in numbers if not (may_fork and number == 57)]
    for number, error in (*refused, (_CLONE3, _ENOSYS)):  # ENOSYS: whoever calls clone3 then tries clone
        lines += [struct.pack("HBBI", 0x15, 0, 1, number), struct.pack("HBBI", 0x06, 0, 0, _ERRNO | error)]
    if not may_fork:
        lines += _clone_makes_threads_only(machine)
    lines.append(struct.pack("HBBI", 0x06, 0, 0, _ALLOW))
    code = ctypes.create_string_buffer(b"".join(lines))
    program = struct.pack("HxxxxxxP", len(lines), ctypes.addressof(code))
    forbid_new_privileges()
    _check(_load_library().prctl(_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), program, 0, 0))


def _clone_makes_threads_only(machine: _Machine) -> list[bytes]:
    flags = struct.pack("HBBI", 0x20, 0, 0, 16)  # the first argument, the lower half
    allow, refuse = struct.pack("HBBI", 0x06, 0, 0, _ALLOW), struct.pack("HBBI", 0x06, 0, 0, _ERRNO | _EPERM)
    body = [flags, struct.pack("HBBI", 0x45, 0, 1, _CLONE_THREAD), allow]
    if machine.forking:
        body += [
            struct.pack("HBBI", 0x54, 0, 0, machine.forking),
            struct.pack("HBBI", 0x15, 0, 1, machine.forking),
            allow,
        ]
    body.append(refuse)
    return [struct.pack("HBBI", 0x15, 0, len(body), machine.clone), *body]


def forbid_new_privileges() -> None:
    """Keep programs that this thread starts from gaining anything by being set-user-ID. Raises OSError."""
    _check(_load_library().prctl(_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), ctypes.c_ulong(0), ctypes.c_ulong(0), 0))


def _allow(library: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= ~_READ_DIR
        rule = struct.pack("=Qi", rights, place)
        _check(library.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0))
    finally:
        os.close(place)


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _load_library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
