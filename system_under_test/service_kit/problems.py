"""Errors as RFC 9457 problem details: one shape for everything that is refused, broken or unavailable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from system_under_test.service_kit import correlation
from system_under_test.service_kit.database import UNAVAILABLE

MEDIA_TYPE = "application/problem+json"
_MOST_MISTAKES = 20


class Problem(Exception):
    """Raise it anywhere in a request to answer with it. `kind` becomes the type and the title."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **extras: object,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.headers, self.extras = dict(headers or {}), extras


def unavailable(detail: str) -> Problem:
    return Problem(503, "unavailable", detail, headers={"Retry-After": "1"})


def problem_of(error: Exception) -> Problem:
    """What the client is told about an error. Nothing of its text unless we wrote that text."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        mistakes = [_mistake(mistake) for mistake in error.errors()[:_MOST_MISTAKES]]
        return Problem(422, "invalid-request", "the request does not have the expected shape", errors=mistakes)
    if isinstance(error, UNAVAILABLE):
        return unavailable("the database is not available")
    return Problem(500, "internal-error", "an unexpected error; it has been logged")


def _mistake(mistake: dict[str, Any]) -> dict[str, str]:
    """Where and what, but never a text of the client's: not even the name of a field that we do not know."""
    where, what = mistake["loc"], mistake["msg"]
    if mistake["type"] == "extra_forbidden":
        where, what = where[:-1], "there is a field that is not known here"
    return {"where": ".".join(map(str, where)), "what": what}


def response_of(problem: Problem) -> Response:
    correlation_id = correlation.current().correlation_id
    body = {
        "type": f"urn:problem:{problem.kind}",
        "title": problem.kind.replace("-", " "),
        "status": problem.status,
        "detail": problem.detail,
        "instance": f"urn:uuid:{correlation_id}",
        "correlation_id": correlation_id,
        **problem.extras,
    }
    return Response(msgspec.json.encode(body), problem.status, problem.headers, media_type=MEDIA_TYPE)
