"""The OpenAPI page: the table of endpoints and the schemas of their bodies, as plain data."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from raftoral.api import bodies
from raftoral.convert import json_schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.api.endpoints import Endpoint


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of ``endpoints``."""
    kinds = list({kind for e in endpoints for kind in (e.body, e.answer) if kind is not None})
    kinds.append(bodies.Failure)
    schemas, components = json_schema(kinds)
    by_kind = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, by_kind)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Raftoral", "version": version("raftoral")},
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(endpoint: Endpoint, schemas: dict[type, dict[str, Any]]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": endpoint.handler.__name__.strip("_"),
        "parameters": [*_in_path(endpoint), *_in_query(endpoint)],
        "responses": {
            "200": _answer(endpoint, schemas[endpoint.answer]),
            "default": _content("What went wrong.", schemas[bodies.Failure]),
        },
    }
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schemas[endpoint.body]}},
        }
    return operation


def _answer(endpoint: Endpoint, schema: dict[str, Any]) -> dict[str, Any]:
    if not endpoint.stream:
        return _content("The answer.", schema)
    return _content("Server-sent events with these bodies.", schema, "text/event-stream")


def _in_path(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", endpoint.path)
    ]


def _in_query(endpoint: Endpoint) -> list[dict[str, Any]]:
    names = {int: "integer", str: "string"}
    return [
        {"name": name, "in": "query", "schema": {"type": names[kind]}}
        for name, kind in endpoint.query
    ]


def _content(
    description: str, schema: dict[str, Any], kind: str = "application/json"
) -> dict[str, Any]:
    return {"description": description, "content": {kind: {"schema": schema}}}
