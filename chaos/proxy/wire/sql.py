"""What a text of SQL does: which tables it writes, and where its transactions begin and end.

It is read by its words, not parsed: enough to tell ``INSERT crm.outbox`` inside a CTE from a ``SELECT … FOR UPDATE``.
What functions, triggers and rules of the database write is not seen. https://www.postgresql.org/docs/current/sql-syntax-lexical.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

Kind = Literal["begin", "commit", "rollback", "savepoint", "rollback to", "release", "prepare", "execute", "other"]


class Statement(NamedTuple):
    """``detail`` is what it is told as: its writes, or ``SELECT table``, ``LISTEN channel``, or its first word."""

    kind: Kind
    detail: str
    writes: tuple[str, ...] = ()
    name: str = ""  # of the savepoint, or of the prepared statement
    chained: bool = False  # the end of this transaction begins the next one


_MOST_CACHED, _LONGEST_CACHED = 2_000, 1 << 14
_cache: dict[bytes, tuple[Statement, ...]] = {}

_TOKEN = re.compile(
    r"""
    --[^\n]*
    | (?P<comment>/\*)
    | (?P<literal>
        [eE]'[^'\\]*(?:(?:\\.|'')[^'\\]*)*(?:'|\Z)
        | '[^']*(?:''[^']*)*(?:'|\Z)
        | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)
        | \d[\w.]*
    )
    | (?P<quoted>"[^"]*(?:""[^"]*)*(?:"|\Z))
    | (?P<word>[^\W\d][\w$]*)
    | (?P<sign>[().,;*])
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"/\*|\*/")

_LITERAL = "'"
_INTO = {"INSERT": "INTO", "MERGE": "INTO", "DELETE": "FROM"}
_MAY_WRITE = {"INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "EXPLAIN"}
_QUERIES = (["("], ["NOT"], ["MATERIALIZED"])  # what follows ``name AS`` if the name is that of a query
_BEFORE_A_WRITE = {"", "(", ")", "ANALYZE", "ANALYSE", "VERBOSE"}


class _Token(NamedTuple):
    word: str  # in capitals; a sign; ``'`` for a literal; "" for a quoted identifier, which is never a keyword
    name: str = ""  # as an identifier


_NOTHING = _Token("")


def classify(text: bytes) -> tuple[Statement, ...]:
    """The statements of a text, in order. One that is cut off is read as far as it goes.

    The zero byte that ends the text on the wire may still be there.
    """
    known = _cache.get(text)
    if known is None:
        known = tuple(_statement(tokens) for tokens in _statements(text.rstrip(b"\0").decode(errors="replace")))
        if len(text) <= _LONGEST_CACHED:
            if len(_cache) >= _MOST_CACHED:
                _cache.clear()
            _cache[text] = known
    return known


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while match := _TOKEN.search(text, at):
        at = match.end()
        found, kind = match[0], match.lastgroup
        if kind == "comment":
            at = _end_of_comment(text, at)
        elif kind == "word":
            yield _Token(found.upper(), found.lower())
        elif kind == "sign":
            yield _Token(found)
        elif kind == "quoted":
            yield _Token("", found[1:].removesuffix('"').replace('""', '"'))
        elif kind is not None:
            yield _Token(_LITERAL)


def _end_of_comment(text: str, at: int) -> int:
    """Comments lie within each other."""
    depth = 1
    while depth and (match := _COMMENT.search(text, at)):
        depth += 1 if match[0] == "/*" else -1
        at = match.end()
    return len(text) if depth else at


def _statements(text: str) -> Iterator[list[_Token]]:
    """The tokens of each. (The semicolons in the body of a ``CREATE … BEGIN ATOMIC`` end none.)"""
    tokens: list[_Token] = []
    depth = blocks = 0
    for token in _tokens(text):
        if token.word == ";" and depth <= 0 and not blocks:
            if tokens:
                yield tokens
            tokens, depth = [], 0
            continue
        depth += (token.word == "(") - (token.word == ")")
        if tokens and tokens[0].word == "CREATE":
            blocks += token.word in ("ATOMIC", "CASE") and (blocks > 0 or token.word == "ATOMIC")
            blocks -= token.word == "END" and blocks > 0
        tokens.append(token)
    if tokens:
        yield tokens


def _statement(tokens: list[_Token]) -> Statement:
    words = [token.word for token in tokens]
    first, last = words[0], tokens[-1].name
    if first in ("BEGIN", "START"):
        return Statement("begin", "BEGIN")
    if first in ("COMMIT", "END", "ROLLBACK", "ABORT") and "PREPARED" not in words:
        if "TO" in words:
            return Statement("rollback to", "ROLLBACK", name=last)
        chained = "CHAIN" in words and "NO" not in words
        return Statement("commit" if first in ("COMMIT", "END") else "rollback", first, chained=chained)
    if first == "SAVEPOINT":
        return Statement("savepoint", first, name=last)
    if first == "RELEASE":
        return Statement("release", first, name=last)
    if first == "EXECUTE":
        return Statement("execute", first, name=_at(tokens, 1).name)
    if first == "PREPARE" and "AS" in words:
        inner = _statement(tokens[words.index("AS") + 1 :] or [_NOTHING])
        return Statement("prepare", inner.detail, inner.writes, _at(tokens, 1).name)
    writes = tuple(dict.fromkeys(_writes(tokens, words)))
    return Statement("other", ", ".join(writes) or _reads(tokens, words), writes)


def _writes(tokens: list[_Token], words: list[str]) -> Iterator[str]:
    first = words[0]
    if first == "TRUNCATE":
        yield from _truncated(tokens)
    elif first == "COPY":
        table, after = _name(tokens, 1)
        if table and "FROM" in words[after:]:
            yield f"COPY {table}"
    elif first in _MAY_WRITE and (first != "EXPLAIN" or {"ANALYZE", "ANALYSE"} & set(words[:12])):
        before = ""
        for at, word in enumerate(words):
            if before in _BEFORE_A_WRITE and (word == "UPDATE" or _INTO.get(word, "-") == _at(tokens, at + 1).word):
                table, _ = _name(tokens, at + (1 if word == "UPDATE" else 2))
                if table:
                    yield f"{word} {table}"
            before = word or '"'


def _truncated(tokens: list[_Token]) -> Iterator[str]:
    at = 2 if _at(tokens, 1).word == "TABLE" else 1
    while True:
        table, at = _name(tokens, at)
        if table:
            yield f"TRUNCATE {table}"
        at += _at(tokens, at).word == "*"
        if not table or _at(tokens, at).word != ",":
            return
        at += 1


def _reads(tokens: list[_Token], words: list[str]) -> str:
    """The table that it selects from: of its own first, else of a query within it."""
    first = words[0]
    if first == "LISTEN":
        return f"LISTEN {_at(tokens, 1).name}"
    if first not in ("SELECT", "WITH", "("):
        return first if first.isalpha() else ""
    own = {tokens[at - 1].name for at, word in enumerate(words) if word == "AS" and words[at + 1 : at + 2] in _QUERIES}
    selects, within = [False], ""
    for at, word in enumerate(words):
        if word == "(":
            selects.append(False)
        elif word == ")" and len(selects) > 1:
            selects.pop()
        elif word == "SELECT":
            selects[-1] = True
        elif word == "FROM" and selects[-1] and words[at - 1] != "DISTINCT":
            table, after = _name(tokens, at + 1)
            if not table or table in own or _at(tokens, after).word == "(":
                continue
            if len(selects) == 1:
                return f"SELECT {table}"
            within = within or f"SELECT {table}"
    return within or "SELECT"


def _name(tokens: list[_Token], at: int) -> tuple[str, int]:
    """A name, maybe qualified, and where it ends; "" if there is none."""
    at += _at(tokens, at).word == "ONLY"
    parts = [_at(tokens, at).name]
    at += bool(parts[0])
    while parts[-1] and _at(tokens, at).word == ".":
        parts.append(_at(tokens, at + 1).name)
        at += 2
    return ".".join(parts), at


def _at(tokens: list[_Token], at: int) -> _Token:
    return tokens[at] if at < len(tokens) else _NOTHING
