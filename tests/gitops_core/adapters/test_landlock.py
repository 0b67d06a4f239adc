"""The numbers of system calls that builds may not make, beside the kernel's own tables.

No machine here is an aarch64: there the table is all that can be tested.

Source: Linux, include/uapi/asm-generic/unistd.h (aarch64), arch/x86/entry/syscalls/syscall_64.tbl; linux/audit.h and
linux/elf-em.h; linux/sched.h.
"""

from __future__ import annotations

import pytest

from gitops_core.adapters.landlock import MACHINES

X86_64 = {
    "accept": 43,
    "add_key": 248,
    "bind": 49,
    "bpf": 321,
    "chroot": 161,
    "connect": 42,
    "delete_module": 176,
    "finit_module": 313,
    "fork": 57,
    "init_module": 175,
    "kexec_load": 246,
    "keyctl": 250,
    "kill": 62,
    "listen": 50,
    "memfd_create": 319,
    "mount": 165,
    "mq_open": 240,
    "msgget": 68,
    "name_to_handle_at": 303,
    "open_by_handle_at": 304,
    "perf_event_open": 298,
    "pivot_root": 155,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "ptrace": 101,
    "request_key": 249,
    "semget": 64,
    "sendmsg": 46,
    "sendto": 44,
    "setns": 308,
    "shmat": 30,
    "shmget": 29,
    "socket": 41,
    "socketpair": 53,
    "umount2": 166,
    "unshare": 272,
    "userfaultfd": 323,
}
AARCH64 = {
    "accept": 202,
    "add_key": 217,
    "bind": 200,
    "bpf": 280,
    "chroot": 51,
    "connect": 203,
    "delete_module": 106,
    "finit_module": 273,
    "init_module": 105,
    "kexec_load": 104,
    "keyctl": 219,
    "kill": 129,
    "listen": 201,
    "memfd_create": 279,
    "mount": 40,
    "mq_open": 180,
    "msgget": 186,
    "name_to_handle_at": 264,
    "open_by_handle_at": 265,
    "perf_event_open": 241,
    "pivot_root": 41,
    "process_vm_readv": 270,
    "process_vm_writev": 271,
    "ptrace": 117,
    "request_key": 218,
    "semget": 190,
    "sendmsg": 211,
    "sendto": 206,
    "setns": 268,
    "shmat": 196,
    "shmget": 194,
    "socket": 198,
    "socketpair": 199,
    "umount2": 39,
    "unshare": 97,
    "userfaultfd": 282,
}
AUDIT_64BIT, AUDIT_LITTLE_ENDIAN = 0x80000000, 0x40000000
EM = {"x86_64": 62, "aarch64": 183}
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE_VM, CLONE_VFORK = 0x100, 0x4000


SOCKETS = ("socket", "connect", "accept", "sendto", "sendmsg", "bind", "listen", "socketpair")


@pytest.mark.parametrize(("machine", "table"), [("x86_64", X86_64), ("aarch64", AARCH64)])
def test_the_calls_refused_are_the_kernels(machine: str, table: dict[str, int]) -> None:
    assert sorted((*MACHINES[machine].sockets, *MACHINES[machine].refused)) == sorted(table.values())
    assert sorted(MACHINES[machine].sockets) == sorted(table[name] for name in SOCKETS)
    assert MACHINES[machine].clone == CLONE[machine]
    assert MACHINES[machine].audit == EM[machine] | AUDIT_64BIT | AUDIT_LITTLE_ENDIAN


def test_both_machines_refuse_the_same_calls() -> None:
    assert X86_64.keys() - AARCH64.keys() == {"fork"}  # which aarch64 does not have, nor vfork
    assert AARCH64.keys() - X86_64.keys() == set()
    assert MACHINES["aarch64"].forking == CLONE_VM | CLONE_VFORK
