"""OpenAPI 3.1, made from the route table and the wire types.

Belongs here: turning routes and structs into a document. Banned here: a sentence about one
endpoint (its route's `summary` and its types say it).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any, Final

import msgspec
from msgspec import Struct, inspect

from hutch.routing.table import ANY, Call, Route
from hutch.server.answers import NO_STORE, respond_bytes
from hutch.server.streaming import Exchange
from hutch.wire import shapes
from hutch.wire.errors import Code

BEARER: Final[Mapping[str, Mapping[str, str]]] = {"token": {"type": "http", "scheme": "bearer"}}

# Those that a path item of OpenAPI 3.1 has.
_EVERY: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_REF: Final = "#/components/schemas/{name}"


class ErrorBody(Struct, frozen=True, kw_only=True):
    """The body of every answer that is not a success."""

    success: bool
    error: str
    code: Code
    request_id: str


def document(
    title: str, routes: tuple[Route, ...], schemes: Mapping[str, Mapping[str, str]] = BEARER
) -> bytes:
    """The OpenAPI document as JSON; a request needs all of `schemes`."""
    types: list[Any] = [ErrorBody]
    for route in routes:
        types += [one for one in (route.answer, _body_shape(route)) if one is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    refs = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = _operation(route, refs)
        for method in _methods(route):
            paths.setdefault(path_template(route), {})[method.lower()] = {
                **operation,
                "operationId": _id(route, method),
            }
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": title, "version": version("hutch")},
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": dict(schemes),
            },
            "security": [{name: [] for name in schemes}],
        }
    )


def path_template(route: Route) -> str:
    """The route's path as OpenAPI writes it, which has no word for "whatever follows"."""
    return route.path.replace("...}", "}")


def _methods(route: Route) -> tuple[str, ...]:
    if route.method == ANY:
        return _EVERY
    has_head = route.method == "GET" and route.kind != "socket"
    return ("GET", "HEAD") if has_head else (route.method,)


def _id(route: Route, method: str) -> str:
    return method.lower() + "".join(
        part.strip("{}.").title() for part in route.path.split("/") if part
    )


def _body_shape(route: Route) -> type[Struct] | None:
    return route.shape if route.source != "query" else None


def _operation(route: Route, refs: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if route.answer is not None:
        content["application/json"] = {"schema": refs[route.answer]}
    elif route.media_type != "application/json":
        content[route.media_type] = {}
    success = {"description": "Success", "content": content}
    if route.kind == "passed":
        return {
            "summary": route.summary,
            "parameters": _parameters(route),
            "responses": {"default": {"description": "What the other server answers"}},
        }
    operation: dict[str, Any] = {
        "summary": route.summary,
        "parameters": _parameters(route),
        "responses": {
            **{str(status): success for status in (route.status, *route.other_statuses)},
            "default": {
                "description": "Failure",
                "content": {"application/json": {"schema": refs[ErrorBody]}},
            },
        },
    }
    if route.is_open:
        operation["security"] = []
    if route.source != "query" and route.shape is not None:
        schema = {"application/json": {"schema": refs[route.shape]}}
        operation["requestBody"] = {"content": schema, "required": route.source == "body"}
    elif route.request_media_type is not None:
        operation["requestBody"] = {"content": {route.request_media_type: {}}, "required": True}
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _path_names(route.path)
    ]
    if route.shape is None or route.source == "body":
        return found
    for field in shapes.fields(route.shape):
        found += _query_parameter(field, may_require=route.source == "query")
    return found


def _path_names(path: str) -> list[str]:
    return [part.strip("{}.") for part in path.split("/") if part.startswith("{")]


def _query_parameter(field: inspect.Field, *, may_require: bool) -> list[dict[str, Any]]:
    name = field.encode_name
    if shapes.is_path(field.type):
        text = {"type": "string"}
        return [
            {"name": name, "in": "query", "required": False, "schema": text},
            {
                "name": f"{name}_b64",
                "in": "query",
                "required": False,
                "schema": text,
                "description": f"{name} in base64, for names that are not UTF-8",
            },
        ]
    schema = _schema_of(field)
    one: dict[str, Any] = {
        "name": name,
        "in": "query",
        "required": may_require and field.required,
        "schema": schema,
    }
    if schema.get("type") == "array":
        # Comma-separated in one parameter, as the reference documents it.
        one |= {"style": "form", "explode": False}
    return [one]


def _schema_of(field: inspect.Field) -> dict[str, Any]:
    schema = shapes.schema(field.type)
    if not field.required and field.default is not msgspec.NODEFAULT:
        schema = {**schema, "default": field.default}
    return schema


def describing(
    title: str, routes: tuple[Route, ...], *, schemes: Mapping[str, Mapping[str, str]] = BEARER
) -> tuple[Route, ...]:
    """`routes`, and the row that answers with the document of them all."""

    async def answer(_service: Any, _call: Call[None], exchange: Exchange) -> None:
        headers = ((b"content-type", b"application/json"), NO_STORE)
        await respond_bytes(exchange, status=200, headers=headers, body=whole())

    row = Route(
        method="GET",
        path="/openapi.json",
        kind="stream",
        handler=answer,
        summary="This document",
    )
    described = (*routes, row)

    @cache
    def whole() -> bytes:
        return document(title, described, schemes)

    return described
