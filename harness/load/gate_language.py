"""The language of gates: ``METRIC OP VALUE [sustained TIME]`` and ``METRIC OP baseline [* FACTOR]``.

::

    e2e.p99 < 250ms sustained 10s
    http.error_ratio <= 0.1%
    duplicate_deals == 0
    e2e.p99 <= baseline * 1.2
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NoReturn

from harness.load.metrics import METRICS, UNITS, Dimension, Metric

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq,
}  # fmt: skip
EXAMPLE = "e2e.p99 < 250ms sustained 10s"
_NUMBER = r"\d+(?:\.\d+)?"
_TOKEN = re.compile(rf"\s*({_NUMBER}|[A-Za-z_][\w.]*(?:/h)?|[<>=!]+|[%*]|/\w+|\S)")
_NAMES: dict[Dimension, str] = {
    "time": "a time", "share": "a share", "rate": "a rate", "count": "a number", "MB/h": "a growth",
}  # fmt: skip


class GateError(Exception):
    """A gate says what nobody understands. The message tells what was expected, and what comes near."""

    def __init__(self, says: str, column: int = 1) -> None:
        super().__init__(says)
        self.says, self.column = says, column


@dataclass(frozen=True, slots=True)
class Check:
    """What has to hold. ``bound``: in the unit of the metric; of a relative one, the factor to the baseline.

    ``sustained_s``: it is broken only where each window breaks it for so long on end; None: over all of it.
    """

    metric: Metric
    operator: str
    bound: float
    relative: bool = False
    sustained_s: float | None = None

    def holds(self, value: float, bound: float) -> bool:
        return OPERATORS[self.operator](value, bound)


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    column: int


def parse(text: str) -> Check:
    """Raises GateError."""
    return _Parser(text).check()


def near(word: str, known: Iterable[str]) -> str:
    """``: did you mean e2e.p99?``, or nothing where nothing comes near."""
    found = difflib.get_close_matches(word, list(known), n=3, cutoff=0.6)
    return f": did you mean {' or '.join(found)}?" if found else ""


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = [_Token(found[1], found.start(1) + 1) for found in _TOKEN.finditer(text) if found[1]]
        self._end = _Token("", len(text.rstrip()) + 1)
        self._next = 0

    def check(self) -> Check:
        metric = self._metric()
        op = self._operator()
        if self._peek().text == "baseline":
            check = self._relative(metric, op)
        else:
            bound = self._amount(metric.dimension, f"what {metric.name} is")
            check = Check(metric, op, bound, sustained_s=self._sustained(metric))
        if self._peek() is not self._end:
            self._refuse("nothing more" if check.sustained_s or check.relative else "sustained TIME, or nothing more",
                         known=("sustained",))  # fmt: skip
        return check

    def _metric(self) -> Metric:
        token = self._peek()
        if token.text not in METRICS:
            kin = [name for name in METRICS if name.startswith(f"{token.text}.")]
            more = f": did you mean {', '.join(kin)}?" if kin else near(token.text, METRICS)
            self._refuse("a metric", more or f"; metrics are {', '.join(METRICS)}")
        return METRICS[self._take().text]

    def _operator(self) -> str:
        if self._peek().text not in OPERATORS:
            self._refuse(f"one of {' '.join(OPERATORS)}", ": did you mean ==?" if self._peek().text == "=" else "")
        return self._take().text

    def _relative(self, metric: Metric, op: str) -> Check:
        if metric.kind == "exact":
            able = ", ".join(name for name, other in METRICS.items() if other.kind != "exact" and "wait" not in name)
            self._refuse(f"a value, for {metric.name} has no interval to compare by; these have one: {able}, wait.*")
        if op == "==":
            self._refuse("a value: no two runs are equal, compare them by <= or >=")
        self._take()
        if self._peek() is self._end:
            return Check(metric, op, 1.0, relative=True)
        if self._peek().text != "*":
            self._refuse("* FACTOR, or nothing more")
        self._take()
        return Check(metric, op, self._number("a factor, such as 1.2"), relative=True)

    def _amount(self, dimension: Dimension, of: str) -> float:
        units = UNITS[dimension]
        shown = " or ".join(unit for unit in units if unit)
        example = f"{_NAMES[dimension]}, such as 250{next(iter(units))}" if shown else "a number"
        number = self._number(f"{of}: {example}" + (", or baseline" if of.startswith("what") else ""))
        unit = self._peek().text
        if unit not in units and unit in ("sustained", "") and "" in units:
            unit = ""
        elif unit in units:
            self._take()
        else:
            self._refuse(f"a unit of {of}: {shown}" if shown else "no unit, for it is a number", near(unit, units))
        return number * units[unit]

    def _sustained(self, metric: Metric) -> float | None:
        if self._peek().text != "sustained":
            return None
        if metric.once:
            self._refuse(f"nothing more, for {metric.name} is known once for the whole run")
        self._take()
        return self._amount("time", "how long") / 1000

    def _number(self, expected: str) -> float:
        if not re.fullmatch(_NUMBER, self._peek().text):
            self._refuse(expected, known=("baseline",))
        return float(self._take().text)

    def _peek(self) -> _Token:
        return self._tokens[self._next] if self._next < len(self._tokens) else self._end

    def _take(self) -> _Token:
        token = self._peek()
        self._next += 1
        return token

    def _refuse(self, expected: str, more: str = "", known: Iterable[str] = ()) -> NoReturn:
        token = self._peek()
        came = f"came {token.text!r}" if token.text else "it ends here"
        raise GateError(f"expected {expected}; {came}{more or near(token.text, known)}", token.column)
