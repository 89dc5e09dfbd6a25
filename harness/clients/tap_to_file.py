"""The firehose tap, written to a file while it fills: under load it would outgrow all memory, ours and the broker's.

What comes is kept as bytes, and read when somebody asks for it or when all of it has come (see ``raw_consumer``).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType

from pika.exceptions import AMQPError

from harness.clients.broker import Broker
from harness.evidence.records import TapMessage
from harness.evidence.run_directory import write_records

_LATEST = 2_000
_PATIENCE_S = 0.2
_REST_WITHIN_S = 30.0
_BLOCK_BYTES = 1 << 20


class TapToFile:
    """At work for the duration of a ``with`` block, in a thread; when it is left, the tap is empty.

    While the broker is away it waits for it, as the whole system does.
    """

    def __init__(self, broker: Broker, file: Path) -> None:
        self._broker, self._file = broker, file
        self.at_work = False
        self._latest: deque[TapMessage] = deque(maxlen=_LATEST)
        self._parts: list[Path] = []
        """The bytes of each connection, in the order in which they were made."""
        self._reached = [0, 0]
        """The part up to which all is read, and so many bytes of it."""
        self._reading = threading.Lock()
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
        self.latest()
        for part in self._parts:
            part.unlink()
        if self._failure is not None and error is None:
            raise self._failure

    def latest(self) -> list[TapMessage]:
        """The last ones that came."""
        with self._reading:
            for messages in self._come_since():
                write_records(self._file, messages, append=True)
                self._latest.extend(messages)
            return list(self._latest)

    def _come_since(self) -> Iterator[list[TapMessage]]:
        """What nobody has read yet. Of each part but the last, what is no whole message will never be one."""
        for number, part in enumerate(self._parts.copy()):
            if number < self._reached[0]:
                continue
            if number > self._reached[0]:
                self._reached = [number, 0]
            with part.open("rb") as file:
                file.seek(self._reached[1])
                left = b""
                while block := file.read(_BLOCK_BYTES):
                    come = left + block
                    messages, used = self._broker.read_tapped(come)
                    left = come[used:]
                    self._reached[1] += used
                    yield messages

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
        with closing(self._broker.consume_tap()) as consumer:
            part = self._file.with_suffix(f".{len(self._parts)}.amqp")
            with part.open("wb", buffering=0) as file:
                self._parts.append(part)
                while not self._emptied():
                    came = consumer.take(_PATIENCE_S)
                    file.write(came)
                    if self._ending.is_set() and not came:
                        self._idle.set()
