"""Finding any of many texts in much text, whatever the case of its letters: a hundred thousand as fast as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from ahocorasick_rs import BytesAhoCorasick, Implementation

BEGINNING = 8
"""So many bytes of a needle are looked for; what follows is compared. Whole needles would fill the memory."""
AT_ONCE = 4_000
_OF_IDS = b"0123456789abcdefABCDEF-"
_BETWEEN = b"\xff"
"""Stands between two texts, and in no needle: there is no such byte in UTF-8."""


class Needles:
    """The texts to look for."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._needles = set(map(folded, texts))
        self._lengths: dict[bytes, tuple[int, ...]] = {}
        for needle in self._needles:
            known = self._lengths.get(needle[:BEGINNING], ())
            if len(needle) not in known:
                self._lengths[needle[:BEGINNING]] = (*known, len(needle))
        self._like_an_id = any(not needle.translate(None, _OF_IDS) for needle in self._needles)
        self._beginnings = list(self._lengths)
        self._search = BytesAhoCorasick(self._beginnings, implementation=Implementation.ContiguousNFA)

    def may_be_in(self, texts: Iterable[str]) -> bool:
        """Could one of them be in these? Not in ids, which have no other letters than those of numbers to the base 16,
        unless there are needles like that."""
        return self._like_an_id or bool("".join(texts).encode("utf-8", "replace").translate(None, _OF_IDS))

    def found_in(self, texts: Iterable[str]) -> set[bytes]:
        """All needles that are in any of the texts, folded."""
        found: set[bytes] = set()
        remaining = iter(texts)
        while several := list(islice(remaining, AT_ONCE)):
            found.update(self._within(_BETWEEN.join(map(folded, several))))
        return found

    def _within(self, hay: bytes) -> Iterator[bytes]:
        for index, at, _ in self._search.find_matches_as_indexes(hay, overlapping=True):
            for length in self._lengths[self._beginnings[index]]:
                if (candidate := hay[at : at + length]) in self._needles:
                    yield candidate


def folded(text: str) -> bytes:
    """A text as it is compared."""
    return text.lower().encode("utf-8", "replace")
