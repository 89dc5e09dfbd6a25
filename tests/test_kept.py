"""Connections that are kept: used again while they are fit, by one user at a time, and none is left open."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from harness.clients.kept import Kept


@dataclass(eq=False)
class Line:
    fit: bool = True
    closed: bool = False


@dataclass
class Exchange:
    """Makes lines, and remembers them."""

    made: list[Line] = field(default_factory=list)

    def make(self) -> Line:
        self.made.append(Line())
        return self.made[-1]

    def close(self, line: Line) -> None:
        line.closed = True


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


@pytest.fixture
def kept(exchange: Exchange) -> Kept[Line]:
    return Kept(exchange.make, fit=lambda line: line.fit, close=exchange.close)


def test_one_after_the_other_use_the_same_and_at_the_same_time_each_has_its_own(
    kept: Kept[Line], exchange: Exchange
) -> None:
    with kept.lent() as first:
        pass
    with kept.lent() as again, kept.lent() as another:
        assert again is first
        assert another is not first
    assert len(exchange.made) == 2


def test_what_is_not_fit_any_more_is_closed_and_replaced(kept: Kept[Line]) -> None:
    with kept.lent() as stale:
        pass
    stale.fit = False
    with kept.lent() as fresh:
        assert fresh is not stale
    assert stale.closed


def test_one_whose_user_failed_is_not_used_again(kept: Kept[Line]) -> None:
    with pytest.raises(ZeroDivisionError), kept.lent() as doubtful:
        raise ZeroDivisionError
    assert doubtful.closed
    with kept.lent() as other:
        assert other is not doubtful


def test_closing_leaves_none_open(kept: Kept[Line], exchange: Exchange) -> None:
    with kept.lent(), kept.lent():
        pass
    kept.close()
    assert [line.closed for line in exchange.made] == [True, True]
