"""Who is let in: every route with every role and without a token, computed from the route table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

from muster.access.roles import Role
from muster.api.server import ApiServer
from muster.api.table import Route
from tests.support.hub import LOCAL_TOKEN, TOKENS, MadeUpHub, api_server, made_up_access
from tests.support.runtime import bearer

SHOWN = [None, *Role]
FLEET = "/api/v1/fleet"


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    server = api_server(MadeUpHub())
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


async def ask(
    client: aiohttp.ClientSession, server: ApiServer, path: str, method: str = "GET", **headers: str
) -> tuple[int, Any]:
    """Status and document; underscores in names of headers are dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.request(method, server.url + path, headers=named) as response:
        text = await response.text()
        return response.status, await response.json(content_type=None) if "json" in response.content_type else text


def path_of(route: Route) -> str:
    return route.path.replace("{", "").replace("}", "")


def test_the_routes_without_a_token_are_these() -> None:
    server = api_server(MadeUpHub())
    assert sorted(f"{route.method} {route.path}" for route in server.routes if route.role is None) == [
        "GET /",
        "GET /healthz",
        "GET /login",
        "GET /login/login.css",
        "GET /login/login.js",
        "GET /readyz",
        "POST /api/v1/session",
    ]


def test_what_changes_has_a_name_in_the_audit_log() -> None:
    for route in api_server(MadeUpHub()).routes:
        reads = route.method == "GET" or route.path == "/api/v1/clusters/{cluster}/validate"
        assert route.changes == (not reads), route.path
        assert bool(route.action) == route.changes, route.path


@pytest.mark.parametrize("shown", SHOWN)
async def test_every_route_lets_in_exactly_those_who_may(
    client: aiohttp.ClientSession, server: ApiServer, shown: Role | None
) -> None:
    headers = {} if shown is None else bearer(TOKENS[shown])
    for route in server.routes:
        where = f"{route.method} {route.path} as {shown}"
        # A GET of a stream would not end: what the gate says is in the head.
        async with client.request(route.method, server.url + path_of(route), headers=headers) as response:
            status = response.status
        if route.role is None:
            assert status not in {401, 403} or (route.method, status) == ("POST", 401), where
        elif shown is None:
            assert status == 401, where
            assert response.headers["WWW-Authenticate"].startswith("Bearer"), where
        elif shown.may(route.role):
            assert status not in {401, 403}, where
        else:
            assert status == 403, where


async def test_a_head_needs_a_token_as_a_get_does(client: aiohttp.ClientSession, server: ApiServer) -> None:
    assert (await ask(client, server, FLEET, "HEAD"))[0] == 401
    assert (await ask(client, server, FLEET, "HEAD", **bearer(TOKENS[Role.VIEWER])))[0] == 200
    assert (await ask(client, server, "/healthz", "HEAD"))[0] == 200


async def test_a_refusal_names_the_role_that_is_needed(client: aiohttp.ClientSession, server: ApiServer) -> None:
    status, problem = await ask(client, server, "/api/v1/audit", **bearer(TOKENS[Role.OPERATOR]))
    assert (status, problem["type"]) == (403, "/problems/forbidden")
    assert (problem["role"], problem["needed"]) == ("operator", "admin")


@pytest.mark.parametrize(
    "shown",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNzd29yZA==",
        "Bearer muster_short",
        f"Bearer {LOCAL_TOKEN}x",
        f"Bearer {LOCAL_TOKEN} {LOCAL_TOKEN}",
        f"Bearer muster_{'z' * 43}",
        f"Token {LOCAL_TOKEN}",
        LOCAL_TOKEN,
        "Bearer " + "\udcff" * 50,
    ],
)
async def test_what_is_no_known_token_is_refused_and_never_repeated(
    client: aiohttp.ClientSession, server: ApiServer, shown: str
) -> None:
    status, problem = await ask(client, server, FLEET, Authorization=shown)
    assert (status, problem["type"]) == (401, "/problems/unauthenticated")
    if secret := shown.partition(" ")[2].strip():
        assert secret not in str(problem)


async def test_two_authorization_headers_are_refused(server: ApiServer) -> None:
    headers = [("Authorization", f"Bearer {LOCAL_TOKEN}"), ("Authorization", "Bearer other")]
    async with aiohttp.ClientSession() as client, client.get(server.url + FLEET, headers=headers) as response:
        assert response.status in {400, 401}


async def test_the_scheme_is_of_any_case(client: aiohttp.ClientSession, server: ApiServer) -> None:
    assert (await ask(client, server, FLEET, Authorization=f"bearer  {LOCAL_TOKEN}"))[0] == 200


@pytest.mark.parametrize("name", ["token", "access_token", "ACCESS_TOKEN"])
@pytest.mark.parametrize("path", [FLEET, "/healthz", "/nowhere"])
async def test_a_token_in_the_address_is_refused_and_not_logged(
    client: aiohttp.ClientSession,
    server: ApiServer,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    path: str,
    name: str,
) -> None:
    secret = TOKENS[Role.ADMIN]
    status, problem = await ask(client, server, f"{path}?{name}={secret}", **bearer(LOCAL_TOKEN))
    assert (status, problem["type"]) == (400, "/problems/bad-request")
    assert "header" in problem["detail"]
    out = capfd.readouterr()
    assert secret not in out.out + out.err + caplog.text + str(problem)


async def test_a_path_that_does_not_exist_is_a_404_for_everybody(
    client: aiohttp.ClientSession, server: ApiServer
) -> None:
    for headers in ({}, bearer("nonsense"), bearer(LOCAL_TOKEN)):
        assert (await ask(client, server, "/api/v1/nowhere", **headers))[0] == 404
        assert (await ask(client, server, FLEET, "DELETE", **headers))[0] == 405


# -- hosts and proxies


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("muster.example", 200),
        ("MUSTER.example.:443", 200),
        ("evil.example", 421),
        ("muster.example.evil.example", 421),
        ("10.9.8.7", 421),
        ("127.0.0.1", 200),
    ],
)
async def test_a_name_is_answered_if_the_operator_has_named_it(
    client: aiohttp.ClientSession, host: str, status: int
) -> None:
    hub = MadeUpHub()
    server = api_server(hub, access=made_up_access(hub, ["Muster.example"]))
    await server.start()
    try:
        assert (await ask(client, server, FLEET, Host=host, **bearer(LOCAL_TOKEN)))[0] == status
    finally:
        await server.stop()


@pytest.mark.parametrize(
    ("behind_proxy", "forwarded", "source"),
    [
        (False, "203.0.113.9", "127.0.0.1"),
        (True, "203.0.113.9", "203.0.113.9"),
        (True, "1.2.3.4, 203.0.113.9", "203.0.113.9"),
        (True, "<script>", "127.0.0.1"),
        (True, "", "127.0.0.1"),
    ],
)
async def test_only_a_proxy_is_believed_and_only_its_own_word(
    client: aiohttp.ClientSession, behind_proxy: object, forwarded: str, source: str
) -> None:
    hub = MadeUpHub()
    access = made_up_access(hub, behind_proxy=bool(behind_proxy))
    server = api_server(hub, access=access)
    await server.start()
    seen: list[str] = []
    source_of = access.hosts.source

    def note(request: Any) -> str:
        seen.append(source_of(request))
        return seen[-1]

    access.hosts.source = note  # type: ignore[method-assign]
    try:
        await ask(client, server, FLEET, X_Forwarded_For=forwarded, **bearer(LOCAL_TOKEN))
    finally:
        await server.stop()
    assert seen == [source]


# -- sessions


class Browser:
    """Keeps its cookie by hand, since aiohttp's jar keeps none for addresses."""

    def __init__(self, client: aiohttp.ClientSession, server: ApiServer) -> None:
        self.client, self.server = client, server
        self.cookie = ""
        self.csrf = ""
        self.flags = ""

    async def log_in(self, headers: Mapping[str, str] | None = None) -> None:
        async with self.client.post(f"{self.server.url}/api/v1/session/code", headers=bearer(LOCAL_TOKEN)) as response:
            assert response.status == 201
            code = (await response.json())["code"]
        async with self.client.post(
            f"{self.server.url}/api/v1/session", json={"code": code}, headers=headers
        ) as response:
            assert response.status == 201
            self.csrf = (await response.json())["csrf"]
            self.flags = response.headers["Set-Cookie"]
            self.cookie = self.flags.partition(";")[0]

    async def ask(self, method: str, path: str, **headers: str) -> tuple[int, Any]:
        return await ask(self.client, self.server, path, method, Cookie=self.cookie, **headers)


@pytest.fixture
async def browser(client: aiohttp.ClientSession, server: ApiServer) -> Browser:
    browser = Browser(client, server)
    await browser.log_in()
    return browser


async def test_the_cookie_is_for_no_script_no_other_site_and_this_host(browser: Browser) -> None:
    name, *flags = browser.flags.split("; ")
    assert name.startswith("muster-session=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=28800"} <= set(flags)
    assert not any(flag.startswith(("Domain", "Secure")) for flag in flags)  # plain HTTP: it would be dropped


async def test_over_tls_the_cookie_is_secure_and_of_this_host_only(client: aiohttp.ClientSession) -> None:
    hub = MadeUpHub()
    server = api_server(hub, access=made_up_access(hub, behind_proxy=True))
    await server.start()
    browser = Browser(client, server)
    try:
        await browser.log_in({"X-Forwarded-Proto": "https"})
        assert browser.flags.startswith("__Host-muster=")
        assert "; Secure" in browser.flags
        assert "Domain" not in browser.flags
        assert (await browser.ask("GET", FLEET, X_Forwarded_Proto="https"))[0] == 200
        assert (await browser.ask("GET", FLEET))[0] == 401
    finally:
        await server.stop()


async def test_a_session_may_read_and_says_who_it_is(browser: Browser) -> None:
    assert (await browser.ask("GET", FLEET))[0] == 200
    status, session = await browser.ask("GET", "/api/v1/session")
    assert status == 200
    assert (session["name"], session["role"], session["kind"]) == ("local", "admin", "session")
    assert session["csrf"] == browser.csrf


async def test_a_token_says_who_it_is_and_needs_no_csrf(client: aiohttp.ClientSession, server: ApiServer) -> None:
    _, session = await ask(client, server, "/api/v1/session", **bearer(TOKENS[Role.VIEWER]))
    assert session == {"name": "the-viewer", "role": "viewer", "kind": "token", "expires_at": None, "csrf": None}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X_Muster_CSRF": "wrong"},
        {"X_Muster_CSRF": "\udcff"},
        {"X_Muster_CSRF": "right", "Sec_Fetch_Site": "cross-site"},
        {"X_Muster_CSRF": "right", "Sec_Fetch_Site": "same-site"},
        {"X_Muster_CSRF": "right", "Origin": "http://127.0.0.1:1"},
        {"X_Muster_CSRF": "right", "Origin": "null"},
        {"X_Muster_CSRF": "right", "Origin": "https://evil.example"},
    ],
)
async def test_another_page_changes_nothing_in_the_name_of_a_session(browser: Browser, headers: dict[str, str]) -> None:
    given = {name: browser.csrf if value == "right" else value for name, value in headers.items()}
    status, problem = await browser.ask("DELETE", "/api/v1/session", **given)
    assert (status, problem["type"]) == (403, "/problems/csrf")
    assert (await browser.ask("GET", FLEET))[0] == 200


async def test_our_own_page_may_log_out_and_the_cookie_is_worth_nothing_after_that(browser: Browser) -> None:
    own = {"Origin": browser.server.url, "Sec_Fetch_Site": "same-origin", "X_Muster_CSRF": browser.csrf}
    assert (await browser.ask("DELETE", "/api/v1/session", **own))[0] == 204
    status, problem = await browser.ask("GET", FLEET)
    assert (status, problem["type"]) == (401, "/problems/unauthenticated")


async def test_another_page_cannot_log_a_browser_in(client: aiohttp.ClientSession, server: ApiServer) -> None:
    status, problem = await ask(client, server, "/api/v1/session", "POST", Sec_Fetch_Site="cross-site")
    assert (status, problem["type"]) == (403, "/problems/csrf")


async def test_of_a_token_and_a_cookie_the_token_counts(browser: Browser) -> None:
    assert (await browser.ask("GET", "/api/v1/audit", **bearer(TOKENS[Role.VIEWER])))[0] == 403
    assert (await browser.ask("GET", FLEET, Authorization="Bearer nonsense"))[0] == 401


@pytest.mark.parametrize("cookie", ["", "muster-session=", "muster-session=guess", "__Host-muster=guess", "muster"])
async def test_a_cookie_that_is_none_of_ours_is_refused(
    client: aiohttp.ClientSession, server: ApiServer, cookie: str
) -> None:
    assert (await ask(client, server, FLEET, Cookie=cookie))[0] == 401


async def test_a_code_works_once_and_only_the_newest_does(client: aiohttp.ClientSession, server: ApiServer) -> None:
    async def code() -> str:
        return str((await ask(client, server, "/api/v1/session/code", "POST", **bearer(LOCAL_TOKEN)))[1]["code"])

    async def exchange(code: object) -> int:
        async with client.post(f"{server.url}/api/v1/session", json={"code": code}) as response:
            return response.status

    older, newer = await code(), await code()
    assert await exchange(older) == 401
    assert await exchange(newer) == 201
    assert await exchange(newer) == 401
    assert await exchange(7) == 422
    last = await code()
    assert [await exchange("wrong") for _ in range(20)][-1] == 429
    assert await exchange(last) == 201  # nobody can lock the operator out by guessing


async def test_tokens_cannot_be_made_while_there_is_no_database(
    client: aiohttp.ClientSession, server: ApiServer
) -> None:
    body = {"name": "ci", "role": "viewer", "expires_in_s": 60}
    async with client.post(f"{server.url}/api/v1/tokens", json=body, headers=bearer(LOCAL_TOKEN)) as response:
        assert response.status == 503
        assert (await response.json(content_type=None))["type"] == "/problems/store-unavailable"
