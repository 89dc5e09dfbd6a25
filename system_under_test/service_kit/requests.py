"""The parts that request bodies and list queries are made of."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints


class Body(BaseModel):
    """Nothing is guessed: no conversion between types, no field that we do not know."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain NUL")
    return text


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_storable)]
Email = Annotated[Text, Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]
Id = Annotated[UUID, Field(strict=False)]  # JSON has no UUID; a string is what there is
Version = Annotated[int | None, Field(ge=0, lt=2**31)]
Limit = Annotated[int, Query(ge=1, le=200)]
After = Annotated[UUID | None, Query()]


def page(items: list[dict[str, object]], limit: int) -> dict[str, object]:
    """A page of a list in order of id; `next` is where the following page starts, if there may be one."""
    return {"items": items, "next": items[-1]["id"] if len(items) == limit else None}
