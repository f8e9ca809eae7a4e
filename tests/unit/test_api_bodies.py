"""Bodies as people and hostile programs send them: bounded, and every error names its place."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from muster.api.bodies import MAX_BODY_BYTES, read_body
from muster.api.problems import problems
from muster.api.schemas import PauseRequest, TokenCreate, ValidateRequest

JSON = {"Content-Type": "application/json"}


async def _pause(request: web.Request) -> web.Response:
    return web.json_response((await read_body(request, PauseRequest, within_s=0.2)).model_dump(mode="json"))


async def _token(request: web.Request) -> web.Response:
    return web.json_response((await read_body(request, TokenCreate)).model_dump(mode="json"))


async def _optional(request: web.Request) -> web.Response:
    return web.json_response((await read_body(request, ValidateRequest, required=False)).model_dump(mode="json"))


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    app = web.Application(middlewares=[problems], client_max_size=MAX_BODY_BYTES)
    app.router.add_post("/pause", _pause)
    app.router.add_post("/token", _token)
    app.router.add_post("/optional", _optional)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    yield server
    await server.close()


async def post(server: TestServer, path: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(server.make_url(path), data=body, headers=JSON if headers is None else headers) as response,
    ):
        return response.status, await response.json(content_type=None)


async def test_a_good_body_is_read(server: TestServer) -> None:
    status, read = await post(server, "/pause", b'{"reason": "moving day \xc3\xbc", "until": "2030-01-01T00:00:00Z"}')
    assert (status, read["reason"], read["until"]) == (200, "moving day ü", "2030-01-01T00:00:00Z")


async def test_a_body_that_is_optional_may_be_left_out_and_has_to_be_good_otherwise(server: TestServer) -> None:
    assert await post(server, "/optional", b"", {}) == (200, {"timeout_s": 30.0})
    assert await post(server, "/optional", b'{"timeout_s": 5}') == (200, {"timeout_s": 5.0})
    assert (await post(server, "/optional", b"{}", {"Content-Type": "text/plain"}))[0] == 415
    assert (await post(server, "/optional", b'{"timeout_s": NaN}'))[0] == 422


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "line 1, column 1"),
        (b'{"reason": "a",}', "at line 1, column 1"),
        (b'{"reason": "a"\n "until": null}', "line 2, column 2"),
        (b'{"reason": "\xff"}', "Byte 12 is not UTF-8"),
        (b'\xef\xbb\xbf{"reason": "a"}', "BOM"),
        (b'{"reason": "a", "reason": "b"}', "reason: given more than once"),
        (b"[" * 30_000, "nested too deeply"),
        (b'{"reason": NaN}', "NaN is no JSON number"),
        (b'{"reason": ' + b"9" * 10_000 + b"}", "digits"),
        (b'{"reason": "\\ud800"}', "hex escape"),
        (b"[]", "body: "),
        (b"null", "body: "),
        (b"{}", "reason: Field required"),
        (b'{"reason": ""}', "reason: String should have at least 1 character"),
        (b'{"reason": 1}', "reason: Input should be a valid string"),
        (b'{"reason": "a", "untill": null}', "untill: unknown; did you mean until?"),
        (b'{"reason": "a", "x\\u001b[31m": null}', "unknown; there are reason, until"),
        (b'{"reason": "a", "until": "2030-01-01T00:00:00"}', "until: Input should have timezone info"),
        (b'{"reason": "a", "until": "soon"}', "until: "),
    ],
)
async def test_what_is_wrong_is_named(server: TestServer, body: bytes, says: str) -> None:
    status, problem = await post(server, "/pause", body)
    assert (status, problem["type"]) == (422, "/problems/bad-body")
    assert says in problem["detail"]
    assert "\x1b" not in problem["detail"]


async def test_several_wrong_fields_are_all_named(server: TestServer) -> None:
    body = {"name": "bad name", "role": "root", "expires_in_s": "60", "colour": 1}
    status, problem = await post(server, "/token", json.dumps(body).encode())
    assert (status, [error["field"] for error in problem["errors"]]) == (
        422,
        ["name", "role", "expires_in_s", "colour"],
    )
    assert "'viewer', 'operator' or 'admin'" in problem["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/json; charset=nonsense"},
    ],
)
async def test_another_kind_of_body_is_refused(server: TestServer, headers: dict[str, str]) -> None:
    status, problem = await post(server, "/pause", b'{"reason": "a"}', headers)
    assert (status, problem["type"]) == (415, "/problems/unsupported-media-type")


async def test_a_compressed_body_is_refused(server: TestServer) -> None:
    status, problem = await post(
        server, "/pause", gzip.compress(b'{"reason": "a"}'), {**JSON, "Content-Encoding": "gzip"}
    )
    assert (status, problem["type"]) == (415, "/problems/unsupported-media-type")


async def test_too_much_is_refused(server: TestServer) -> None:
    status, problem = await post(server, "/pause", b'{"reason": "' + b"a" * MAX_BODY_BYTES + b'"}')
    assert (status, problem["type"]) == (413, "/problems/too-large")


async def test_a_sender_who_trickles_is_dropped(server: TestServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"POST /pause HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n"), 5)
    assert b" 408 " in head
    writer.close()


async def test_a_sender_who_hangs_up_is_no_defect(server: TestServer, capsys: pytest.CaptureFixture[str]) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"POST /pause HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{")
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.transport.abort()
    await asyncio.sleep(0.05)
    assert "defect" not in capsys.readouterr().out
