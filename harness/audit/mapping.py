"""Reading the log of a system that is not ours: a mapping says which of its fields are which of the contract's.

::

    [fields]                        # ours = "theirs"; a dot goes into an object
    ts = "time"                     # RFC 3339 of any offset and precision, or seconds or milliseconds since 1970
    event = "msg.kind"
    correlation_id = "trace"
    [constants]                     # ours = what it always is
    service = "crm"
    [values.event]                  # theirs = "ours", for any field of ours
    "request.start" = "http.request.received"
    [ignore]                        # lines in which their field has one of these values are passed over
    "msg.kind" = ["debug", "gc"]
"""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from harness.contract.log_lines import KINDS, SCHEMA_VERSION, ContractViolation, Line, decode_line, kind_of_struct

_MILLISECONDS_FROM = 1e11
"""A number from here on counts milliseconds: as seconds it would lie beyond the year 5000."""


class MappingError(Exception):
    """A mapping file is unreadable or speaks of a field that the contract does not have."""


class Mapping(Struct, frozen=True, forbid_unknown_fields=True):
    """How to read another system's lines. Its other fields are left aside; what it lacks is null, where that may be."""

    fields: dict[str, str]
    constants: dict[str, Any] = {}
    values: dict[str, dict[str, Any]] = {}
    ignore: dict[str, list[Any]] = {}

    @property
    def numbers_lines(self) -> bool:
        """Does each of its processes count its lines? Otherwise a lost line cannot be told from a lost event."""
        return "seq" in self.fields and "instance" in self.fields

    def decode_line(self, raw: bytes) -> Line | None:
        """One line, None if it is passed over. Raises ContractViolation."""
        try:
            theirs = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ContractViolation(str(error)) from None
        if not isinstance(theirs, dict):
            raise ContractViolation(f"expected an object, got {type(theirs).__name__}")
        if any(_at(theirs, path) in values for path, values in self.ignore.items()):
            return None
        return decode_line(msgspec.json.encode(self._ours(theirs)))

    def moment_of(self, raw: bytes) -> str:
        """The ts of a raw line, as far as it can be read."""
        try:
            return _moment(_at(msgspec.json.decode(raw), self.fields["ts"]))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ContractViolation):
            return ""

    def _ours(self, theirs: dict[str, Any]) -> dict[str, Any]:
        found = {ours: _at(theirs, path) for ours, path in self.fields.items()}
        for ours, table in self.values.items():
            value = found.get(ours)
            if isinstance(value, str | int) and str(value) in table:
                found[ours] = table[str(value)]
        line = _LACKING | found | self.constants
        line["ts"] = _moment(line.get("ts"))
        wanted = _FIELDS.get(str(line.get("event")))
        return line if wanted is None else {"event": line["event"]} | {name: line.get(name) for name in wanted}


_FIELDS = {kind_of_struct(kind): kind.__struct_fields__ for kind in KINDS}
_LACKING: dict[str, Any] = {
    "schema": SCHEMA_VERSION, "instance": "unknown", "seq": 0, "level": "info", "correlation_id": None,
}  # fmt: skip


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _moment(value: Any) -> str:
    """As the contract writes it."""
    try:
        if isinstance(value, int | float):
            moment = datetime.fromtimestamp(value / 1000 if value >= _MILLISECONDS_FROM else value, UTC)
        else:
            moment = datetime.fromisoformat(str(value))
            moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise ContractViolation(f"ts {value!r}: expected RFC 3339, or a number since 1970") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def load_mapping(path: Path) -> Mapping:
    """Raises MappingError with the file and the place."""
    try:
        mapping = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Mapping)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise MappingError(f"{path}: {error}") from error
    known = {"event", *(name for fields in _FIELDS.values() for name in fields)}
    unknown = sorted({*mapping.fields, *mapping.constants, *mapping.values} - known)
    if unknown:
        raise MappingError(f"{path}: the contract has no field {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    missing = {"ts", "event", "correlation_id"} - {*mapping.fields, *mapping.constants}
    if missing:
        raise MappingError(f"{path}: nothing is said about {', '.join(sorted(missing))}")
    return mapping
