"""timeout: nothing passes, and after ``timeout`` milliseconds without a byte the connection is closed (0: never).

What was swallowed is lost, so the connection does not outlive the toxic.
"""

from __future__ import annotations

from chaos.proxy.toxics.stage import Attributes, End, NotNegative, Stage


class Timeout(Attributes):
    timeout: NotNegative = 0


class TimeoutStage(Stage):
    attributes: Timeout
    attributes_type = Timeout
    _closed = False

    def started(self, live: bool) -> None:
        self._wait()

    def feed(self, data: bytes) -> None:
        if not self._closed:
            self.count(len(data))
            self._wait()

    def finish(self, end: End) -> None:
        self.stop_waiting()
        if not self._closed:
            self._closed = True
            self.next.finish(end)

    def updated(self, attributes: Attributes) -> None:
        super().updated(attributes)
        self._wait()

    def removed(self) -> None:
        super().removed()
        self._close()

    def _wait(self) -> None:
        self.stop_waiting()
        if self.attributes.timeout and not self._closed:
            self.wait_ms(self.attributes.timeout, self._close)

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self.count(0)
            self.next.finish(End.CLOSE)
