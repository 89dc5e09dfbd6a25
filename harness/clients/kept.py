"""Connections that are used again. To make one costs more than most questions, on both sides of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Connection = TypeVar("Connection")


class Kept(Generic[Connection]):
    """Lends each connection to one thread at a time, and makes one where none is free. Close it after use.

    ``fit``: whether a connection may be used (again); one that may not is closed and forgotten. A server that was
    restarted meanwhile, or that has ended a session, is so met with a new connection.
    """

    def __init__(
        self,
        make: Callable[[], Connection],
        *,
        fit: Callable[[Connection], bool],
        close: Callable[[Connection], object],
    ) -> None:
        self._make, self._fit, self._close = make, fit, close
        self._free: list[Connection] = []

    @contextmanager
    def lent(self) -> Iterator[Connection]:
        """A connection for the duration of the block. One whose block raised is not used again."""
        connection = self._take()
        try:
            yield connection
        except BaseException:
            self._close(connection)
            raise
        self._free.append(connection)

    def close(self) -> None:
        while self._free:
            self._close(self._free.pop())

    def _take(self) -> Connection:
        while self._free:
            connection = self._free.pop()
            if self._fit(connection):
                return connection
            self._close(connection)
        return self._make()
