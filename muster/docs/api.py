"""The page of the API: the OpenAPI document, told to people."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from muster.access.access import Access
from muster.access.hosts import Hosts
from muster.api import openapi, schemas
from muster.api.access import AccessRoutes
from muster.api.agents import AgentRoutes
from muster.api.availability import AvailabilityReads
from muster.api.events import EventStreams
from muster.api.fleet import FleetReads
from muster.api.history import HistoryReads
from muster.api.location_assignment import AssignmentRoutes
from muster.api.locations import LocationRoutes
from muster.api.machines import Machines
from muster.api.matrix import MatrixReads
from muster.api.operations import Operations
from muster.api.pages import LoginPage
from muster.api.pauses import PauseActions
from muster.api.picture import Pictures
from muster.api.problems import Kind
from muster.api.routes import route_table
from muster.api.syncs import SyncRoutes
from muster.api.table import JSON, Route
from muster.api.telemetry import TelemetryRoutes
from muster.api.validate import ValidateActions
from muster.api.validation_jobs import ValidationRoutes
from muster.docs.api_text import HEAD
from muster.docs.problems import problem_link
from muster.docs.types import in_words
from muster.hub import Hub
from muster.telemetry import make_telemetry
from validator.clock import HubClock
from validator.health import HealthSettings

Json = dict[str, Any]

_FAMILIES: dict[type, str] = {
    FleetReads: "The fleet and its clusters",
    HistoryReads: "History",
    AvailabilityReads: "Availability",
    EventStreams: "Events",
    ValidateActions: "Ask a cluster now",
    PauseActions: "Pauses",
    LocationRoutes: "Backup locations",
    AssignmentRoutes: "Which clusters use a location",
    TelemetryRoutes: "Telemetry",
    ValidationRoutes: "Validate a location now",
    SyncRoutes: "Which backups a location has",
    MatrixReads: "The matrix",
    AgentRoutes: "Agents",
    AccessRoutes: "Tokens, sessions and the audit log",
    Operations: "The service itself",
    Machines: "For machines",
    LoginPage: "The login page",
    openapi.OpenApi: "This API",
}
"""By the class of the handlers, in the order of the page."""

_EVENTS = (
    schemas.Hello,
    schemas.Transition,
    schemas.FleetChanged,
    schemas.ValidationStep,
    schemas.Dropped,
    schemas.Bye,
)
"""Data of `/api/v1/events`; OpenAPI has no word for a stream of several kinds."""

_HEADERS = {
    "If-None-Match": "#what-has-not-changed",
    "If-Match": "#two-who-change-one-thing",
    "Idempotency-Key": "#sent-twice-done-once",
}
"""Where the page explains them."""


def api_page() -> str:
    """All of `docs/api.md`."""
    page = _Page(_routes())
    return "\n".join([HEAD, *page.everywhere(), *page.index(), *page.families(), *page.documents()]) + "\n"


def _routes() -> list[Route]:
    """The table of a hub that does nothing."""
    hub = Hub(HubClock(), "")

    async def no_metrics() -> bytes:
        return b""

    access = Access(hub.clock, Hosts())
    telemetry = make_telemetry(hub, dict, Path("/"), {})
    routes = route_table(hub, Pictures(hub), no_metrics, HealthSettings(), access, telemetry)
    order = list(_FAMILIES)
    return sorted(routes, key=lambda route: order.index(_family(route)))


def _family(route: Route) -> type:
    return type(route.handler.__self__)  # type: ignore[attr-defined]  # handlers are methods


class _Page:
    """Its parts, as lines."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        self._document = openapi.document(routes, "")
        self._always = self._common(routes) | {Kind.NOT_FOUND, Kind.METHOD_NOT_ALLOWED}
        self._with_role = self._common(route for route in routes if route.role) - self._always
        self._with_body = self._common(route for route in routes if route.body) - self._always - self._with_role

    def everywhere(self) -> list[str]:
        """Problems that need not be said at each path."""
        return [
            f"- Any path: {_links(self._always)}.",
            f"- Any that needs a token: {_links(self._with_role)}.",
            f"- Any that takes a body: {_links(self._with_body)}.",
            f"- Any that changes something, for browsers: {problem_link(Kind.CSRF)}.",
        ]

    def index(self) -> list[str]:
        """Every path in one table."""
        rows = [
            f"| [`{route.method} {route.path}`](#{_anchor(route)}) | {route.role or 'none'} | {route.summary} |"
            for route in self._routes
        ]
        return ["", "## All paths", "", "| Path | Role | |", "|---|---|---|", *rows]

    def families(self) -> list[str]:
        """A section each."""
        lines: list[str] = []
        for family, routes in groupby(self._routes, _family):
            lines += ["", f"## {_FAMILIES[family]}"]
            for route in routes:
                lines += self._route(route)
        return lines

    def documents(self) -> list[str]:
        """Every schema once, by name."""
        lines = ["", "## Documents", "", "What the API sends and takes, by name."]
        for name, model in sorted(self._models().items()):
            lines += _model(name, model)
        return lines

    def _route(self, route: Route) -> list[str]:
        who = "No token is needed." if route.role is None else f"Role: {_who(route)}."
        if headers := self._headers(route):
            who += f" Headers: {', '.join(f'[`{name}`]({_HEADERS[name]})' for name in headers)}."
        lines = ["", f'<a id="{_anchor(route)}"></a>', "", f"### `{route.method} {route.path}`", ""]
        lines += [inspect.cleandoc(route.handler.__doc__ or route.summary), "", who]
        parameters = [each for each in self._operation(route)["parameters"] if "name" in each]
        if parameters:
            rows = [_parameter(each) for each in parameters]
            lines += ["", "| Parameter | Type | Default | Meaning |", "|---|---|---|---|", *rows]
        if route.body is not None:
            may = "" if route.body_required else " It may be left out."
            lines += ["", f"Body: [{route.body.__name__}](#{route.body.__name__.lower()}).{may}"]
        lines += ["", _answer(route)]
        if own := self._kinds(route) - self._always - self._with_role - self._with_body - {Kind.CSRF}:
            lines += ["", f"Problems: {_links(own)}."]
        return lines

    def _operation(self, route: Route) -> Json:
        operation: Json = self._document["paths"][route.path][route.method.lower()]
        return operation

    def _headers(self, route: Route) -> list[str]:
        """Those that it takes, but for what is said of all that change something."""
        refs = [str(each.get("$ref", "")) for each in self._operation(route)["parameters"]]
        return [name for name in (ref.rpartition("/")[2] for ref in refs) if name in _HEADERS]

    def _kinds(self, route: Route) -> set[Kind]:
        """Problems that it may answer, as the OpenAPI document has them."""
        text = json.dumps(self._operation(route)["responses"])
        return {kind for kind in Kind if f'"{kind.type}"' in text}

    def _common(self, routes: Iterable[Route]) -> set[Kind]:
        return reduce(set.intersection, (self._kinds(route) for route in routes))

    def _models(self) -> dict[str, type[BaseModel]]:
        """All that the API sends and takes, and what they are made of."""
        models: dict[str, type[BaseModel]] = {model.__name__: model for model in _EVENTS}
        for name in self._document["components"]["schemas"]:
            if isinstance(model := getattr(schemas, name, None), type):  # what is not there is a list of values
                models[name] = model
        for model in list(models.values()):
            if (base := _base(model)) is not None:
                models[base.__name__] = base
        return models


def _answer(route: Route) -> str:
    if route.status == 204:
        return "Answers 204, without a body."
    if 300 <= route.status < 400:
        return f"Answers {route.status}, with `Location`."
    document = "" if route.answer is None else f"[{route.answer.__name__}](#{route.answer.__name__.lower()})"
    match route.media_type:
        case "text/event-stream":
            return f"Answers {route.status} with server-sent [events](#what-happens-as-it-happens)."
        case "application/x-ndjson":
            return (
                f"Answers {route.status} with JSON lines, `application/x-ndjson`: one {document} a line, as it happens."
            )
        case media_type if media_type == JSON and document:
            return f"Answers {route.status} with {document}."
        case media_type:
            return f"Answers {route.status} with `{media_type}`."


def _parameter(described: Json) -> str:
    schema = described["schema"]
    name = f"`{{{described['name']}}}`" if described["in"] == "path" else f"`{described['name']}`"
    default = f"`{schema['default']}`" if schema.get("default") else ""
    return _row(name, in_words(schema, {}), default, described.get("description", ""))


def _model(name: str, model: type[BaseModel]) -> list[str]:
    taken = issubclass(model, schemas.Body)
    schema = model.model_json_schema(mode="validation" if taken else "serialization")
    base = _base(model)
    lines = ["", f"### {name}", "", inspect.cleandoc(model.__doc__ or "")]
    if base is not None:
        lines += ["", f"It has all that [{base.__name__}](#{base.__name__.lower()}) has, and:"]
    inherited = () if base is None else base.model_fields
    lines += ["", "| Member | Type | Default | Meaning |" if taken else "| Member | Type | Meaning |"]
    lines += ["|---|---|---|---|" if taken else "|---|---|---|"]
    for member, described in schema.get("properties", {}).items():
        if member in inherited:
            continue
        default = "required" if member in schema.get("required", ()) else f"`{json.dumps(described.get('default'))}`"
        cells = [f"`{member}`", in_words(described, schema.get("$defs", {})), *([default] if taken else [])]
        lines.append(_row(*cells, described.get("description", "")))
    return lines


def _base(model: type[BaseModel]) -> type[BaseModel] | None:
    """The document that it adds to, if it does."""
    base = model.__bases__[0]
    return None if base in {BaseModel, schemas.Document, schemas.Body} else base


def _who(route: Route) -> str:
    return {"viewer": "viewer, operator or admin", "operator": "operator or admin"}.get(
        str(route.role), str(route.role)
    )


def _links(kinds: set[Kind]) -> str:
    return ", ".join(problem_link(kind) for kind in Kind if kind in kinds)


def _anchor(route: Route) -> str:
    words = route.path.removeprefix("/api/v1").replace("{", "").replace("}", "").replace(".", "-").strip("/")
    return "-".join([route.method.lower(), *words.split("/")])


def _row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
