"""The OpenAPI document of a service: FastAPI tells of the routes, and this adds what the edge does to each of them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

from system_under_test import __version__
from system_under_test.service_kit.problems import MEDIA_TYPE

Responses = dict[int | str, dict[str, Any]]

_EVERYWHERE = (400, 401, 408, 413, 414, 415, 422, 431, 500, 503)
_TEXT = {"type": "string"}
_PROBLEM = {
    "type": "object",
    "description": "Problem details (RFC 9457). Some kinds carry further fields.",
    "required": ["type", "title", "status", "detail", "instance", "correlation_id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": _TEXT,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": _TEXT,
        "instance": {"type": "string", "format": "uri"},
        "correlation_id": {"type": "string", "format": "uuid"},
        "errors": {
            "type": "array",
            "items": {"type": "object", "required": ["where", "what"], "properties": {"where": _TEXT, "what": _TEXT}},
        },
    },
}
_FLOW = {"description": "The flow that this request belongs to.", "schema": {"type": "string", "format": "uuid"}}
_FLOW_PARAMETER = {
    "name": "X-Correlation-Id",
    "in": "header",
    "description": "The flow that this request belongs to. What is not a UUID is replaced by a new one.",
    "schema": _TEXT,
}
_HEADERS = {
    401: {"WWW-Authenticate": {"required": True, "schema": _TEXT}},
    503: {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 0}}},
}


def refusals(*statuses: int) -> Responses:
    """What a route may refuse with, besides what every route may."""
    return {status: {"description": HTTPStatus(status).phrase} for status in statuses}


def document(service: str, routes: list[BaseRoute], open_routes: list[BaseRoute]) -> dict[str, Any]:
    made = get_openapi(title=f"Reference CRM: {service}", version=__version__, routes=[*routes, *open_routes])
    closed = {getattr(route, "path", "") for route in routes}
    for path, operations in made["paths"].items():
        for operation in operations.values():
            if path in closed:
                _complete(operation)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = _PROBLEM
    made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return made


def _complete(operation: dict[str, Any]) -> None:
    operation["security"] = [{"token": []}]
    operation["parameters"] = [*operation.get("parameters", ()), _FLOW_PARAMETER]
    responses = operation["responses"]
    del responses["422"]
    for status in _EVERYWHERE:
        responses[str(status)] = {"description": HTTPStatus(status).phrase}
    for status, response in responses.items():
        response["headers"] = {"X-Correlation-Id": {"required": True, **_FLOW}, **_HEADERS.get(int(status), {})}
        if int(status) >= 400:
            response["content"] = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
