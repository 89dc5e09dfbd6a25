"""The owner's side of the keeper: without a keeper no process of a stack is started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.environment import keeper
from harness.environment.failures import EnvironmentFailed

_GONE_WITHIN_S = 30


class Keeper:
    """A running keeper and the state folder that it made. It acts when this process ends, however it ends."""

    def __init__(self) -> None:
        self.released = False
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # nothing of ours: a reader of our output would wait for its end
            start_new_session=True,
            cwd="/",
            env={},
        )
        assert self._process.stdout is not None
        with self._process.stdout as said:
            place = said.readline().decode().strip()
        if not place:
            raise EnvironmentFailed(
                f"the keeper {keeper.__file__} did not start (it needs Linux 5.3 or newer, and /dev/shm or /tmp)"
            )
        self.state_dir = Path(place)

    def close(self) -> None:
        """Unless released: let it end what is left and remove the state folder. Returns when it has."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(_GONE_WITHIN_S)

    def release(self) -> None:
        """Send it home: the stack stays up, and is ended by what its file says."""
        assert self._process.stdin is not None
        self._process.stdin.write(keeper.RELEASE)
        self._process.stdin.flush()
        self.released = True
