"""What a server itself wrote down since a moment: a witness of what a fault in it has hit."""

from __future__ import annotations

import re

from harness.environment.capabilities import HasLog


class ServerLog:
    """From its making on. A server that is started again goes on in another file, which is read from its beginning."""

    def __init__(self, server: HasLog) -> None:
        self._server = server
        self._file = server.log
        self._offset = self._file.stat().st_size

    def count(self, pattern: str) -> int:
        """How many of its lines since then match this pattern somewhere."""
        return sum(bool(re.search(pattern, line)) for line in self._lines())

    def _lines(self) -> list[str]:
        now = self._server.log
        texts = [self._file.read_bytes()[self._offset :]]
        if now != self._file:
            texts.append(now.read_bytes())
        return b"\n".join(texts).decode(errors="replace").splitlines()
