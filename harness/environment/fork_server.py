"""The fork server: a process that has imported what services import, and becomes one in a fork of itself.

Half a second of a service's start goes into importing libraries, and a gate starts services sixty times. A fork has
them already. What it runs is otherwise what ``python -m MODULE`` runs: the module itself is imported anew each time,
from the folder it is started in, because the code under test may be another one in every start.

A fork carries the environment and command line of whoever forked, as far as the kernel can tell others. Both are
overwritten in place, as setproctitle does, for the keeper knows what belongs to a stack by its environment.

It is run as ``python fork_server.py MODULE…`` and never imported by who asks it (see ``forking``). Standard input
is the socket on which orders come; when that is closed, it ends, and those that it forked live on.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import time
from typing import Any

PADDING = "ROOM_FOR_VARIABLES"
"""A variable that is long enough to make room for the variables of any service."""
_MOST_BYTES = 1 << 17
_OUTPUTS = 2
_ARG_START = 45
"""arg_start, arg_end, env_start and env_end are the fields 48 to 51 of /proc/self/stat; the first two are cut off."""


def main() -> None:
    """Import, then fork whenever it is asked for. Returns in a fork, when what it has become is over."""
    sys.path[0] = "/"  # our own folder is nobody's place for modules
    for module in sys.argv[1:]:
        with contextlib.suppress(ImportError):  # whoever needs it will say so
            importlib.import_module(module)
    gc.collect()
    gc.freeze()
    if (order := _serve(socket.socket(fileno=os.dup(0)))) is not None:
        _become(order)


def _serve(door: socket.socket) -> dict[str, Any] | None:
    """None when nobody can ask any more; in a fork, the order that it is to carry out."""
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(woken)
    while True:
        ready, _, _ = select.select([door.fileno(), wake], [], [])
        if wake in ready:
            os.read(wake, _MOST_BYTES)
            _report_ended(door)
        if door.fileno() in ready:
            message, outputs, _, _ = socket.recv_fds(door, _MOST_BYTES, _OUTPUTS)
            if not message:
                return None
            if (pid := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                for number in (wake, woken, door.detach()):
                    os.close(number)
                _take_outputs(outputs)
                return dict(json.loads(message))
            for number in outputs:
                os.close(number)
            door.send(json.dumps({"pid": pid}).encode())


def _report_ended(door: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError, BrokenPipeError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            door.send(json.dumps({"ended": ended[0], "code": os.waitstatus_to_exitcode(ended[1])}).encode())


def _take_outputs(outputs: list[int]) -> None:
    for number, output in zip((0, 1, 2), (os.open(os.devnull, os.O_RDONLY), *outputs), strict=True):
        os.dup2(output, number)
        os.close(output)


def _become(order: dict[str, Any]) -> None:
    """Run a module as ``python -m`` does, in a session of its own."""
    os.setsid()
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(order["cwd"])
    _wear(order["argv"], order["environment"])
    module, *arguments = order["argv"][2:]
    sys.argv = [module, *arguments]
    sys.path[0] = order["cwd"]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _wear(argv: list[str], environment: dict[str, str]) -> None:
    """Have this command line and these variables, also in the eyes of others (proc(5): cmdline, environ)."""
    os.environ.clear()
    with open("/proc/self/stat", "rb") as file:
        numbers = file.read().rpartition(b")")[2].split()
    argv_from, argv_to, environ_from, environ_to = map(int, numbers[_ARG_START : _ARG_START + 4])
    _overwrite(environ_from, environ_to, [f"{name}={value}" for name, value in environment.items()])
    _overwrite(argv_from, argv_to, argv)
    os.environ.update(environment)
    time.tzset()


def _overwrite(start: int, end: int, words: list[str]) -> None:
    block = b"".join(os.fsencode(word) + b"\0" for word in words)
    if len(block) > end - start:
        raise SystemExit(f"fork server: {len(block)} bytes of {words[0][:20]}… do not fit into {end - start}")
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, block, len(block))


if __name__ == "__main__":
    main()
