"""The keeper: a tiny watchdog that ends a stack's processes and removes its state when their owner is gone.

The owner may crash, be killed with -9, or be stopped in the middle of starting something; nothing it could have
registered beforehand covers the moment between a fork and the note about it. So nothing is registered. Every process
of a stack carries the stack's state folder in its environment and hands it on to its children, and a process is ours
if it does so, or if it is a database backend that works inside that folder (those overwrite their environment). A
reused process id can therefore never be mistaken for one of ours. What is no process of this machine (containers) is
ended by a command that stands in the state folder, in the file AT_END, before the first of it is made.

Standard library only: it runs as ``python -I -S keeper.py`` to start within milliseconds, and the harness imports the
same functions for a clean stop, so that there is one way to end a stack and it is used every time.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

STACK = "GAUNTLET_STACK"
PROCESS = "GAUNTLET_PROCESS"
STOP_SIGNAL = "GAUNTLET_STOP_SIGNAL"
RELEASE = b"release\n"
AT_END = "at-end.json"
KEPT = "kept"
"""In the state folder of a stack that stays up without a keeper; it says where the stack is written down."""
GRACE_S = 2.0
STATE_HOMES = (Path("/dev/shm"), Path("/tmp"))
LOCK = "keeper"
"""In the state folder: locked by the keeper as long as it lives."""
_AT_END_WITHIN_S = 10.0
"""Containers are removed in a fifth of that; where their engine is gone, whoever waits has long had enough."""
_GIVE_UP_AFTER_S = 10.0
_LOOK_EVERY_S = 0.02
_IPC_RMID = 0
_ROOM_BYTES = 4 << 30


def state_home() -> Path:
    """Where state folders are made: in memory if there is room, for a stack makes and removes thousands of files.

    Either is short (a socket's path has 107 bytes) and reachable by the database's user. What a process has written
    outlives its kill -9 in both.
    """
    memory, disk = STATE_HOMES
    try:
        found = os.statvfs(memory)
    except OSError:
        return disk
    return memory if os.access(memory, os.W_OK) and found.f_bavail * found.f_frsize >= _ROOM_BYTES else disk


def state_folder_prefixes() -> list[str]:
    """How the path of every state folder of this user begins."""
    return [f"{home}/gauntlet-{os.getuid()}-" for home in STATE_HOMES]


def state_folders(holding: str) -> list[Path]:
    """A file of that name in each state folder of this user that has one."""
    prefixes = map(Path, state_folder_prefixes())
    return [file for prefix in prefixes for file in prefix.parent.glob(f"{prefix.name}*/{holding}")]


def is_kept(state: Path) -> bool:
    """Whether a stack is to be there: its keeper lives (or is about to lock its folder), or it was asked to stay."""
    if (state / KEPT).exists():
        return True
    try:
        with (state / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return state.exists()
    return False


def members(state: Path, process: str | None = None) -> dict[int, int]:
    """Process id → the signal that asks it to end, of everything that belongs to a stack (or to one process of it)."""
    mark = f"{STACK}={state}".encode()
    name = f"{PROCESS}={process}".encode()
    found = {}
    for pid in _all_pids():
        environment = _environment(pid)
        if mark in environment:
            if process is None or name in environment:
                found[pid] = _stop_signal(environment)
        elif process is None and _works_inside(pid, state):
            found[pid] = signal.SIGKILL
    return found


def all_parents() -> dict[int, int]:
    """Process id → its parent's, of every process of the machine."""
    return {pid: int(_status(pid)[1]) for pid in _all_pids()}


def tree(roots: Iterable[int], parents: Mapping[int, int] | None = None) -> set[int]:
    """The processes and all that descend from them, by parent: a session of its own does not hide a descendant.

    Whoever asks for several trees looks at the machine once, and gives the ``parents``.
    """
    parents = all_parents() if parents is None else parents
    whole = set(roots)
    while more := {pid for pid, parent in parents.items() if parent in whole} - whole:
        whole |= more
    return whole


def end_everything(state: Path, *, grace_s: float = GRACE_S) -> None:
    """End whatever belongs to a stack, politely and then not."""
    asked = members(state)
    for pid, number in asked.items():
        send(pid, number, state)
        send(pid, signal.SIGCONT, state)
    force_at = time.monotonic() + grace_s
    quiet = 0
    while quiet < 2 and time.monotonic() < force_at + _GIVE_UP_AFTER_S:  # twice: a dying parent may just have forked
        left = members(state)
        quiet = 0 if left else quiet + 1
        for pid in left:
            if time.monotonic() >= force_at or pid not in asked:
                send(pid, signal.SIGKILL, state)
        time.sleep(_LOOK_EVERY_S)


def run_at_end(state: Path) -> None:
    """Run what was left to be run at the end, if anything. Where that takes long, it goes on by itself."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        order = json.loads((state / AT_END).read_bytes())
        process = subprocess.Popen(
            order["argv"],
            env=order["environment"],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_AT_END_WITHIN_S)


def send(pid: int, number: int, state: Path) -> None:
    """Signal one process of a stack. The handle is taken first and the process looked at after, so it cannot change."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if f"{STACK}={state}".encode() in _environment(pid) or _works_inside(pid, state):
            signal.pidfd_send_signal(handle, number)
    except OSError:
        pass
    finally:
        os.close(handle)


def remove(state: Path) -> None:
    """Remove a state folder: only one of our own making, whatever a damaged file may claim."""
    if os.path.normpath(state).startswith(tuple(state_folder_prefixes())) and state.parent in STATE_HOMES:
        _release_shared_memory(state / "postgres" / "data" / "postmaster.pid")
        shutil.rmtree(state, ignore_errors=True)


def _release_shared_memory(postmaster: Path) -> None:
    """A database that was killed and not started again leaves a segment behind, and says which in this file."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        segment = int(postmaster.read_text(encoding="ascii").splitlines()[6].split()[1])
        ctypes.CDLL(None).shmctl(segment, _IPC_RMID, None)


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _environment(pid: int) -> list[bytes]:
    try:
        return _read(f"/proc/{pid}/environ").split(b"\0")
    except OSError:
        return []


def _stop_signal(environment: list[bytes]) -> int:
    prefix = f"{STOP_SIGNAL}=".encode()
    return next((int(entry[len(prefix) :]) for entry in environment if entry.startswith(prefix)), signal.SIGTERM)


def _works_inside(pid: int, state: Path) -> bool:
    """Whether this is a database process of the stack. A shell that someone left in its folder is not ours."""
    try:
        if _read(f"/proc/{pid}/comm") != b"postgres\n":
            return False
        folder = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return False
    return Path(folder.removesuffix(" (deleted)")).is_relative_to(state)


def state_of(pid: int) -> str:
    """The kernel's letter for what a process does: T is stopped, Z and X are dead (as is one that is not there)."""
    return _status(pid)[0]


def _status(pid: int) -> list[str]:
    try:
        status = _read(f"/proc/{pid}/stat").decode("utf-8", "replace")
    except OSError:
        return ["X", "0"]
    return status.rpartition(")")[2].split()


def _read(file: str) -> bytes:
    """Of all processes of the machine, some files each: ``Path`` and its buffers take three times as long."""
    with open(file, "rb", buffering=0) as source:
        return source.readall()


def _owner_is_gone(owner: int) -> bool:
    """Wait for the owner's word or its end. Its end is seen twice over: a fork of the owner may hold the pipe open."""
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    poll.register(owner, select.POLLIN)
    ready = {fd for fd, _ in poll.poll()}
    return os.read(0, len(RELEASE)) != RELEASE if 0 in ready else True


def main() -> None:
    """Make the state folder, say where it is, wait for the owner's end, clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o077)
    owner = os.pidfd_open(os.getppid())
    state = Path(tempfile.mkdtemp(dir=state_home(), prefix=f"gauntlet-{os.getuid()}-"))
    lock = os.open(state / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)  # as long as it is held, we live
    state.chmod(0o711)  # the database's user passes through it, and reads nothing
    with contextlib.suppress(OSError):  # an owner that is gone already is noticed below
        os.write(1, f"{state}\n".encode())
    os.close(1)
    if _owner_is_gone(owner):
        end_everything(state)
        run_at_end(state)
        remove(state)


if __name__ == "__main__":
    main()
