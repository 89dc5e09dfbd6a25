"""slow_close: the end of the stream comes ``delay`` milliseconds later than its last byte."""

from __future__ import annotations

from chaos.proxy.toxics.stage import Attributes, End, NotNegative, Stage


class SlowClose(Attributes):
    delay: NotNegative = 0


class SlowCloseStage(Stage):
    attributes: SlowClose
    attributes_type = SlowClose
    _end: End | None = None

    def finish(self, end: End) -> None:
        self._end = end
        self.count(0)
        self.wait_ms(self.attributes.delay, self._finish)

    def updated(self, attributes: Attributes) -> None:
        super().updated(attributes)
        if self.waits:
            self.wait_ms(self.attributes.delay, self._finish)

    def removed(self) -> None:
        super().removed()
        self._finish()

    def _finish(self) -> None:
        if self._end is not None:
            self.next.finish(self._end)
