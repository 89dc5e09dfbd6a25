"""Errors as RFC 9457 problem details: one shape for everything that is refused, broken or unavailable."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from system_under_test.service_kit import correlation, logs
from system_under_test.service_kit.database import UNAVAILABLE

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
        mistakes = [
            {"where": ".".join(map(str, mistake["loc"])), "what": mistake["msg"]}
            for mistake in error.errors()[:_MOST_MISTAKES]
        ]
        return Problem(422, "invalid-request", "the request does not have the expected shape", errors=mistakes)
    if isinstance(error, HTTPException):
        kinds = {404: "not-found", 405: "method-not-allowed"}
        return Problem(error.status_code, kinds.get(error.status_code, "refused"), error.detail, headers=error.headers)
    if isinstance(error, UNAVAILABLE):
        return unavailable("the database is not available")
    return Problem(500, "internal-error", "an unexpected error; it has been logged")


def response_of(problem: Problem, path: str) -> Response:
    body = {
        "type": f"urn:problem:{problem.kind}",
        "title": problem.kind.replace("-", " "),
        "status": problem.status,
        "detail": problem.detail,
        "instance": path,
        "correlation_id": correlation.current().correlation_id,
        **problem.extras,
    }
    content = msgspec.json.encode(_without_broken_text(body))
    return Response(content, problem.status, problem.headers, media_type="application/problem+json")


def _without_broken_text(value: object) -> object:
    """Names and paths come from the client and may hold lone surrogates, which no JSON can."""
    if isinstance(value, str):
        return logs.clean(value)
    if isinstance(value, dict):
        return {key: _without_broken_text(item) for key, item in value.items()}
    return [_without_broken_text(item) for item in value] if isinstance(value, list) else value
