"""The firehose tap, written to a file while it fills: under load it would outgrow all memory, ours and the broker's."""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path
from types import TracebackType

from pika.exceptions import AMQPError

from harness.clients.broker import Broker
from harness.evidence.records import TapMessage
from harness.evidence.run_directory import write_records

_LATEST = 2_000
_PATIENCE_S = 0.2
_REST_WITHIN_S = 30.0


class TapToFile:
    """At work for the duration of a ``with`` block, in a thread; when it is left, the tap is empty.

    ``latest``: the last ones that came. While the broker is away it waits for it, as the whole system does.
    """

    def __init__(self, broker: Broker, file: Path) -> None:
        self._broker, self._file = broker, file
        self.latest: deque[TapMessage] = deque(maxlen=_LATEST)
        self.at_work = False
        self._ending = threading.Event()
        self._idle = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="tap to file", daemon=True)

    def __enter__(self) -> TapToFile:
        write_records(self._file, ())
        self.at_work = True
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ending.set()
        self._thread.join(_REST_WITHIN_S)
        self.at_work = False
        if self._failure is not None and error is None:
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._emptied():
                try:
                    self._write_on()
                except (AMQPError, OSError):
                    self._ending.wait(_PATIENCE_S)
        except BaseException as failure:
            self._failure = failure

    def _emptied(self) -> bool:
        return self._ending.is_set() and self._idle.is_set()

    def _write_on(self) -> None:
        with self._broker.tap_stream() as came:
            while not self._emptied():
                messages = came(_PATIENCE_S)
                write_records(self._file, messages, append=True)
                self.latest.extend(messages)
                if self._ending.is_set() and not messages:
                    self._idle.set()
