"""Equal texts as one object: ids stand on many lines and in many records, and would fill the memory with copies."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from functools import cache
from itertools import repeat
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.inspect import CollectionType, DictType, StrType, UnionType
from msgspec.structs import force_setattr

_UNIQUE = ("ts", "received_at")
"""No other record has the same."""


class Sharing:
    """The texts that have been met so far. To be dropped when all is read: it keeps each of them alive."""

    def __init__(self) -> None:
        self._met: dict[Any, Any] = {}

    def share(self, records: Iterable[Struct]) -> None:
        """Let the text fields of these records be the same objects as those of all earlier ones.

        Field by field, without a step of Python for each record: there are ten million of them in a large run.
        """
        by_kind: dict[type[Struct], list[Struct]] = defaultdict(list)
        for record in records:
            by_kind[type(record)].append(record)
        for kind, members in by_kind.items():
            for name in text_fields(kind):
                texts = list(map(attrgetter(name), members))
                shared = map(self._met.setdefault, texts, texts)
                deque(map(force_setattr, members, repeat(name), shared), maxlen=0)


@cache
def text_fields(kind: type[Struct]) -> tuple[str, ...]:
    """The fields of a record that hold free text. Of a closed list there is one object anyway."""
    info: Any = msgspec.inspect.type_info(kind)
    return tuple(field.name for field in info.fields if field.name not in _UNIQUE and _is_text(field.type))


@cache
def other_fields(kind: type[Struct]) -> tuple[str, ...]:
    """The fields of a record that may hold more than one text: mappings and sequences."""
    info: Any = msgspec.inspect.type_info(kind)
    return tuple(field.name for field in info.fields if isinstance(field.type, CollectionType | DictType))


def _is_text(kind: msgspec.inspect.Type) -> bool:
    return isinstance(kind, StrType) or (isinstance(kind, UnionType) and any(map(_is_text, kind.types)))
