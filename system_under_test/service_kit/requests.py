"""The parts that request bodies, list queries and answers are made of."""

from __future__ import annotations

import json
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from system_under_test.service_kit.problems import Problem

T = TypeVar("T")


class Body(BaseModel):
    """Nothing is guessed: no conversion between types, no field that we do not know."""

    model_config = ConfigDict(extra="forbid", strict=True)


class View(BaseModel):
    """An answer: exactly the fields that its model names."""

    model_config = ConfigDict(extra="forbid")


class Page(View, Generic[T]):
    items: list[T]
    next: UUID | None


# What counts as space differs between the dialects of JSON Schema, Python and Rust, so it is spelt out.
SPACE = r"\s\x00-\x20\x85\uFEFF"
_SOMETHING = rf"^[^\x00]*[^{SPACE}][^\x00]*$"  # and no NUL, which PostgreSQL cannot store
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=_SOMETHING)]
Email = Annotated[str, Field(max_length=254, pattern=rf"^[^@{SPACE}]+@[^@{SPACE}]+$")]
Id = Annotated[UUID, Field(strict=False)]  # JSON has no UUID; a string is what there is
Version = Annotated[
    int, Field(ge=0, lt=2**31), BeforeValidator(lambda value: int(value) if _is_whole(value) else value)
]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Limit = Annotated[int, Query(ge=1, le=200)]
After = Annotated[UUID | None, Query()]


def _is_whole(value: object) -> bool:
    """To JSON, 1.0 is an integer; to a strict model it is none."""
    return isinstance(value, float) and value.is_integer()


def page(items: list[dict[str, object]], limit: int) -> dict[str, object]:
    """A page of a list in order of id; `next` is where the following page starts, if there may be one."""
    return {"items": items, "next": items[-1]["id"] if len(items) == limit else None}


def check_json(content_type: bytes, body: bytes) -> None:
    """Stricter than Python is: no NaN, no name twice (which of the two was checked?), and only UTF-8."""
    if content_type.partition(b";")[0].strip().lower() != b"application/json":
        raise Problem(
            415, "unsupported-media-type", "a body is application/json", headers={"Accept": "application/json"}
        )
    try:
        json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Problem(400, "malformed-body", "the body is not JSON in UTF-8 with unique names") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError
    return names


def _no_number(_: str) -> None:
    raise ValueError
