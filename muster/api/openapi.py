"""The OpenAPI document (3.1): the route table and the schemas, written down. Nothing in it is said twice.

A response that is not in the document is a defect; a test asks a running service as the document says and finds it.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import ETag, web
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from muster.access.gate import CSRF_HEADER
from muster.access.roles import Role
from muster.access.sessions import COOKIE
from muster.api import schemas
from muster.api.once import MAX_KEY_CHARS
from muster.api.problems import CONTENT_TYPE, Kind, kind_headers
from muster.api.queries import NoQuery, read_query
from muster.api.table import JSON, Route
from validator.discovery.fields import MAX_NAME_CHARS

PATH = "/openapi.json"

MAX_PATH_PART_CHARS = MAX_NAME_CHARS
"""Longest name or id in a path; a longer one is nobody's, and some don't fit into a request line when quoted."""

Json = dict[str, Any]

_REF = "#/components/schemas/{model}"
_PATH_PARAMETER = re.compile(r"{(\w+)(?::[^}]*)?}")

_ALWAYS = (Kind.BAD_REQUEST, Kind.WRONG_HOST, Kind.DEFECT)
_WITH_ROLE = (Kind.UNAUTHENTICATED, Kind.FORBIDDEN)
_WITH_BODY = (Kind.BAD_BODY, Kind.UNSUPPORTED_MEDIA_TYPE, Kind.TOO_LARGE, Kind.SLOW_REQUEST)

_HEADERS: Mapping[str, Json] = {
    "ETag": {"description": "Of what was answered.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "string", "pattern": "^[0-9]+$"}},
    "WWW-Authenticate": {"description": "How to show who asks.", "schema": {"type": "string"}},
}

_PARAMETERS: Mapping[str, Json] = {
    "If-None-Match": {
        "description": "The `ETag` of an earlier answer: 304 while it still holds.",
        "schema": {"type": "string"},
    },
    "If-Match": {
        "description": "The `etag` that the change is based on: 412 if somebody else was faster.",
        "schema": {"type": "string"},
    },
    "Idempotency-Key": {
        "description": "Any text of your own. The same request with the same key is done once, and answered the same.",
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARS, "pattern": "^[ -~]+$"},
    },
    CSRF_HEADER: {
        "description": "With a session: the `csrf` of `GET /api/v1/session`. With a token it is not needed.",
        "schema": {"type": "string"},
    },
}


def document(routes: Sequence[Route], version: str) -> Json:
    """The document of these routes. Pure: the same routes make the same document."""
    models = _Models(routes)
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(_PATH_PARAMETER.sub(r"{\1}", route.path), {})[route.method.lower()] = _operation(route, models)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Muster",
            "summary": "Fleet health for people who run backup over Kubernetes clusters that they do not own",
            "description": "Moments are RFC 3339 in UTC, lengths of time are seconds. Readers ignore members that they "
            "do not know. Every error is an RFC 9457 problem document, whose `type` never changes.",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": models.definitions,
            "headers": dict(_HEADERS),
            "parameters": {name: {"name": name, "in": "header", **each} for name, each in _PARAMETERS.items()},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API token, `muster_...`. Tokens travel in this header only, never in a URL.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": COOKIE,
                    "description": f"A browser's session (over TLS the cookie has another name). What changes "
                    f"anything needs the header {CSRF_HEADER} as well.",
                },
            },
        },
    }


class OpenApi:
    """Serves the document of a route table, itself included; made once."""

    def __init__(self, routes: Sequence[Route], version: str) -> None:
        route = Route("GET", PATH, self.openapi, Role.VIEWER, "This document", media_type=JSON, tagged=True)
        self.routes = [*routes, route]
        """The table with the document's own row."""
        self._body = json.dumps(document(self.routes, version), ensure_ascii=False).encode()
        self._tag = hashlib.sha256(self._body).hexdigest()[:16]

    async def openapi(self, request: web.Request) -> web.Response:
        """Every path, every parameter, every answer, in OpenAPI 3.1."""
        read_query(NoQuery, request.query)
        known = any(each.value in {self._tag, "*"} for each in request.if_none_match or ())
        answer = web.Response(status=304) if known else web.Response(body=self._body, content_type=JSON)
        answer.etag = ETag(self._tag)
        answer.headers["Cache-Control"] = "no-cache"
        return answer


class _Models:
    """Every schema that the routes speak of, under one name each."""

    def __init__(self, routes: Sequence[Route]) -> None:
        wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(schemas.Problem, "serialization"): None}
        for route in routes:
            if route.answer is not None:
                wanted[route.answer, "serialization"] = None
            if route.body is not None:
                wanted[route.body, "validation"] = None
            for _, data in route.events:
                wanted[data, "serialization"] = None
        self._refs, found = models_json_schema(list(wanted), ref_template=_REF)
        self.definitions: Json = found["$defs"]

    def ref(self, model: type[BaseModel], mode: JsonSchemaMode) -> Json:
        """A reference to one of them."""
        return dict(self._refs[model, mode])


def _operation(route: Route, models: _Models) -> Json:
    words = re.findall(r"[a-z]+", route.path.removeprefix("/api/v1")) or ["root"]
    operation: Json = {
        "operationId": "_".join((route.method.lower(), *words)),
        "summary": route.summary,
        "description": inspect.cleandoc(route.handler.__doc__ or ""),
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)],
        "responses": {**_success(route, models), **_problems(route, models)},
        "security": [] if route.role is None else [{"token": []}, {"session": []}],
    }
    if route.role is not None:
        operation["description"] += f"\n\nFor: {route.role} and above."
        operation["x-muster-role"] = route.role.value
    if route.body is not None:
        content = {JSON: {"schema": models.ref(route.body, "validation")}}
        operation["requestBody"] = {"required": route.body_required, "content": content}
    return operation


# -- parameters


def _path_parameters(route: Route) -> list[Json]:
    schema = {"type": "string", "minLength": 1, "maxLength": MAX_PATH_PART_CHARS}
    texts = {"cluster": "The cluster's name, another name of it, its id, or six or more characters its id begins with."}
    return [
        {"name": name, "in": "path", "required": True, "description": texts.get(name, "Its id."), "schema": schema}
        for name in _PATH_PARAMETER.findall(route.path)
    ]


def _query_parameters(route: Route) -> list[Json]:
    """One a field. A field that may be None is one that may be left out: there is no null in a URL."""
    schema = route.query.model_json_schema(by_alias=True)
    parameters: list[Json] = []
    for name, given in schema.get("properties", {}).items():
        described = {key: value for key, value in given.items() if key not in {"title", "description"}}
        if described.get("default", ...) is None:
            del described["default"]
        branches = [each for each in described.pop("anyOf", []) if each != {"type": "null"}]
        for branch in branches[:1]:
            described |= branch
        parameter: Json = {"name": name, "in": "query", "required": name in schema.get("required", ())}
        if text := given.get("description"):
            parameter["description"] = " ".join(text.split())
        if described.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        parameters.append({**parameter, "schema": described})
    return parameters


def _header_parameters(route: Route) -> list[Json]:
    named = {
        "If-None-Match": route.tagged,
        "If-Match": route.if_match,
        "Idempotency-Key": route.idempotent,
        CSRF_HEADER: route.changes and route.role is not None,
    }
    return [{"$ref": f"#/components/parameters/{name}"} for name, taken in named.items() if taken]


# -- responses


def _success(route: Route, models: _Models) -> Json:
    response: Json = {"description": route.summary}
    if route.status not in {204, 303}:
        response["content"] = {route.media_type: _media(route, models)}
    if not route.tagged:
        return {str(route.status): response}
    response["headers"] = {"ETag": {"$ref": "#/components/headers/ETag"}}
    unchanged = {"description": "What you have still holds.", "headers": response["headers"]}
    return {str(route.status): response, "304": unchanged}


def _media(route: Route, models: _Models) -> Json:
    """OpenAPI 3.1 has no word for the items of a stream; 3.2's is `itemSchema`."""
    answer = None if route.answer is None else models.ref(route.answer, "serialization")
    if route.media_type == JSON:
        return {"schema": {"type": "object"} if answer is None else answer}
    item = {"oneOf": [_event(name, data, models) for name, data in route.events]} if route.events else answer
    streamed = {} if item is None else {"x-itemSchema": item}
    return {"schema": {"type": "string"}, **streamed}


def _event(name: str, data: type[BaseModel], models: _Models) -> Json:
    document = {"contentMediaType": JSON, "contentSchema": models.ref(data, "serialization")}
    return {
        "type": "object",
        "required": ["event", "data"],
        "properties": {"event": {"const": str(name)}, "data": {"type": "string", **document}},
    }


def _problems(route: Route, models: _Models) -> Json:
    kinds = {*_ALWAYS, *route.problems}
    if route.role is not None:
        kinds.update(_WITH_ROLE)
    if route.changes:
        kinds.add(Kind.CSRF)
    if route.media_type != "text/plain":
        kinds.add(Kind.BAD_QUERY)
    if route.body is not None:
        kinds.update(_WITH_BODY)
    if route.if_match:
        kinds.add(Kind.PRECONDITION_FAILED)
    if route.idempotent:
        kinds.update({Kind.IDEMPOTENCY_CONFLICT, Kind.STORE_UNAVAILABLE})
    if _PATH_PARAMETER.search(route.path):
        kinds.add(Kind.NOT_FOUND)
    by_status: dict[int, list[Kind]] = {}
    for kind in Kind:  # in the order of the table
        if kind in kinds:
            by_status.setdefault(kind.status, []).append(kind)
    return {str(status): _problem(some, models) for status, some in by_status.items()}


def _problem(kinds: Sequence[Kind], models: _Models) -> Json:
    types = {"properties": {"type": {"enum": [kind.type for kind in kinds]}}}
    schema = {"allOf": [models.ref(schemas.Problem, "serialization"), types]}
    response: Json = {
        "description": " Or: ".join(f"{kind.title}." for kind in kinds),
        "content": {CONTENT_TYPE: {"schema": schema}},
    }
    if headers := sorted({name for kind in kinds for name in kind_headers(kind)}):
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
    return response
