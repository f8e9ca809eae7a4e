"""The OpenAPI document: valid, whole, and true of what the service answers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import schemathesis
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from muster.api.openapi import document
from muster.api.table import Route
from tests.support.hub import MadeUpHub, api_server
from tests.support.reading import Api, asked

Json = dict[str, Any]


@pytest.fixture
def routes() -> list[Route]:
    return api_server(MadeUpHub()).routes


@pytest.fixture
def described(routes: list[Route]) -> Json:
    return document(routes, "1.2.3")


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with asked(MadeUpHub()) as api:
        yield api


def operations(described: Json) -> dict[tuple[str, str], Json]:
    return {
        (method.upper(), path): operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }


def test_it_is_valid_openapi(described: Json) -> None:
    errors = [f"{list(error.instance_path)}: {error.message}" for error in OPENAPI_31_VALIDATOR.iter_errors(described)]
    assert errors == []
    assert schemathesis.openapi.from_dict(described).specification.version == "3.1.0"


def test_every_reference_leads_somewhere(described: Json) -> None:
    for ref in set(re.findall(r"'\$ref': '([^']+)'", str(described))):
        found: Any = described
        for part in ref.removeprefix("#/").split("/"):
            found = found[part]
        assert found


def test_every_route_is_in_it_with_its_role_and_problems(routes: list[Route], described: Json) -> None:
    found = operations(described)
    assert found.keys() == {(route.method, route.path) for route in routes}
    for route in routes:
        operation = found[route.method, route.path]
        assert operation["summary"] == route.summary
        assert operation.get("x-muster-role") == route.role
        assert bool(operation["security"]) == (route.role is not None)
        assert {str(route.status), *(str(kind.status) for kind in route.problems)} <= operation["responses"].keys()
        if route.role is not None:
            assert {"401", "403"} <= operation["responses"].keys()


def test_operations_have_names_of_their_own(described: Json) -> None:
    names = [operation["operationId"] for operation in operations(described).values()]
    assert len(set(names)) == len(names)
    assert "get_clusters_cluster_history" in names


def test_parameters_have_the_names_and_kinds_of_the_query(described: Json) -> None:
    given = operations(described)["GET", "/api/v1/clusters"]["parameters"]
    by_name = {parameter["name"]: parameter for parameter in given}
    assert list(by_name) == ["health", "label", "source", "reason", "check", "name", "sort", "limit", "after"]
    assert all(parameter["in"] == "query" and not parameter["required"] for parameter in given)
    assert by_name["health"]["schema"]["items"]["enum"][0] == "Suspended"
    assert by_name["health"]["explode"] is False
    assert by_name["limit"]["schema"] == {"default": 500, "maximum": 5000, "minimum": 1, "type": "integer"}
    assert by_name["after"]["schema"] == {"maxLength": 4096, "minLength": 1, "type": "string"}
    history = operations(described)["GET", "/api/v1/clusters/{cluster}/history"]["parameters"]
    assert [parameter["name"] for parameter in history][:4] == ["cluster", "limit", "before", "from"]
    assert history[3]["schema"] == {"format": "date-time", "type": "string"}


def test_a_problem_names_the_types_that_it_may_have(described: Json) -> None:
    responses = operations(described)["GET", "/api/v1/clusters/{cluster}"]["responses"]
    schema = responses["404"]["content"]["application/problem+json"]["schema"]
    assert schema["allOf"][1]["properties"]["type"]["enum"] == ["/problems/not-found", "/problems/cluster-not-found"]
    assert responses["401"]["headers"].keys() == {"WWW-Authenticate"}


def test_what_writes_takes_a_body_and_the_header_of_a_session(described: Json) -> None:
    create = operations(described)["POST", "/api/v1/tokens"]
    assert create["requestBody"]["required"]
    assert {"$ref": "#/components/parameters/X-Muster-CSRF"} in create["parameters"]
    assert {"413", "415", "422"} <= create["responses"].keys()


def test_the_same_routes_make_the_same_document(routes: list[Route], described: Json) -> None:
    assert document(routes, "1.2.3") == described


async def test_it_is_served_with_a_tag(api: Api) -> None:
    async with api.session.get(f"{api.url}/openapi.json") as response:
        assert response.content_type == "application/json"
        assert response.headers["Cache-Control"] == "no-cache"
        tag = response.headers["ETag"]
        assert "/openapi.json" in (await response.json())["paths"]
    async with api.session.get(f"{api.url}/openapi.json", headers={"If-None-Match": tag}) as response:
        assert response.status == 304
        assert response.headers["ETag"] == tag
