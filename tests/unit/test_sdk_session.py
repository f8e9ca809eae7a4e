"""The session under the SDKs against servers that mean harm, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest

from tests.support.clouds import Stub, always, drip, endless, garbage, hang, raw_server, sdk_sessions
from validator.net.failure import ProbeFailure
from validator.net.policy import ConnectPolicy, Destination
from validator.net.sdk_session import ERRORS, MAX_ANSWER_BYTES, SdkSessions, transport_failure
from validator.reasons import Reason
from validator.testing import ScriptedResolver


@pytest.fixture
async def sessions() -> AsyncIterator[SdkSessions]:
    opened = sdk_sessions()
    yield opened
    await opened.close()


async def fails(session: aiohttp.ClientSession, url: str) -> ProbeFailure:
    """What a GET ends in, as a probe would tell it."""
    with pytest.raises(ERRORS) as caught:
        await (await session.get(url)).read()
    return transport_failure(caught.value, "storage")


async def test_a_redirect_is_never_followed_and_its_query_is_not_told(sessions: SdkSessions) -> None:
    async with Stub(always(200, "stolen")).running() as thief:
        away = {"Location": f"http://user:pw@127.0.0.1:{thief.host.partition(':')[2]}/x?X-Amz-Signature=canary"}
        async with Stub(always(307, headers=away)).running() as stub:
            failure = await fails(sessions.to(Destination.STORAGE), stub.url)
        assert not thief.asked
    assert failure.reason is Reason.UNEXPECTED_STORAGE_ANSWER
    assert "canary" not in str(failure)
    assert "pw" not in str(failure)


async def test_an_endless_body_is_cut_off(sessions: SdkSessions) -> None:
    async with raw_server(endless) as host, asyncio.timeout(10):
        failure = await fails(sessions.to(Destination.STORAGE), f"http://{host}/")
    assert failure.reason is Reason.UNEXPECTED_STORAGE_ANSWER
    assert str(MAX_ANSWER_BYTES) in failure.message


@pytest.mark.parametrize("talk", [hang, drip])
async def test_a_server_that_drags_ends_with_the_callers_deadline_and_leaves_no_socket(
    sessions: SdkSessions, talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> None:
    gone = asyncio.Event()

    async def noticing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        speaking = asyncio.create_task(_quietly(talk(reader, writer)))
        while await reader.read(1024):
            pass
        speaking.cancel()
        gone.set()

    async with raw_server(noticing) as host:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await sessions.to(Destination.STORAGE).get(f"http://{host}/")
        async with asyncio.timeout(2):
            await gone.wait()


async def _quietly(talk: Awaitable[None]) -> None:
    with contextlib.suppress(OSError):
        await talk


@pytest.mark.parametrize(
    ("scheme", "reason"), [("http", Reason.UNEXPECTED_STORAGE_ANSWER), ("https", Reason.STORAGE_TLS_FAILED)]
)
async def test_garbage_is_told_from_silence(sessions: SdkSessions, scheme: str, reason: Reason) -> None:
    async with raw_server(garbage) as host:
        assert (await fails(sessions.to(Destination.STORAGE), f"{scheme}://{host}/")).reason is reason


async def test_nobody_listens(sessions: SdkSessions) -> None:
    async with raw_server(hang) as host:
        pass
    failure = await fails(sessions.to(Destination.STORAGE), f"http://{host}/")
    assert (failure.reason, failure.unanswered) == (Reason.STORAGE_UNREACHABLE, True)


@pytest.mark.parametrize(
    ("addresses", "destination"),
    [
        (("169.254.169.254",), Destination.STORAGE),
        (("fd00:ec2::254", "127.0.0.1"), Destination.STORAGE),
        (("::ffff:169.254.169.254",), Destination.TOKENS),
        (("93.184.216.34",), Destination.METADATA),
    ],
)
async def test_a_name_that_resolves_to_where_no_probe_goes(
    addresses: tuple[str, ...], destination: Destination
) -> None:
    resolver = ScriptedResolver({"bucket.example": addresses})
    sessions = SdkSessions(ConnectPolicy(), resolver, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    try:
        failure = await fails(sessions.to(destination), "http://bucket.example/")
        assert failure.reason is Reason.ENDPOINT_REFUSED
        for address in addresses:
            host = f"[{address}]" if ":" in address else address
            assert (await fails(sessions.to(destination), f"http://{host}/")).reason is Reason.ENDPOINT_REFUSED
    finally:
        await sessions.close()


@pytest.mark.parametrize("host", ["127.1", "2130706433", "017700000001", "2852039166"])
async def test_an_address_in_a_spelling_of_its_own_is_refused_before_anybody_reads_it(host: str) -> None:
    """aiohttp asks no resolver about it, and the C library connects to 127.0.0.1 or 169.254.169.254."""
    async with Stub(always(200, "reached")).running() as stub:
        port = stub.host.rpartition(":")[2]
        sessions = SdkSessions(ConnectPolicy(), ScriptedResolver({}), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        try:
            failure = await fails(sessions.to(Destination.STORAGE), f"http://{host}:{port}/")
        finally:
            await sessions.close()
    assert failure.reason is Reason.ENDPOINT_REFUSED
    assert not stub.asked


async def test_each_new_connection_asks_the_resolver_again() -> None:
    async with Stub(always(200, "ok", {"Connection": "close"})).running() as stub:
        resolver = ScriptedResolver({"bucket.example": ("127.0.0.1",)})
        sessions = SdkSessions(ConnectPolicy(allow_loopback=True), resolver, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        url = stub.url.replace("127.0.0.1", "bucket.example")
        try:
            await (await sessions.to(Destination.STORAGE).get(url)).read()
            resolver.names["bucket.example"] = ("169.254.169.254",)  # rebinding
            assert (await fails(sessions.to(Destination.STORAGE), url)).reason is Reason.ENDPOINT_REFUSED
        finally:
            await sessions.close()
    assert len(stub.asked) == 1


async def test_proxies_and_cookies_of_the_environment_are_not_used(
    sessions: SdkSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with Stub(always(200, "ok", {"Set-Cookie": "a=b"})).running() as stub:
        for _ in range(2):
            await (await sessions.to(Destination.STORAGE).get(stub.url)).read()
    assert "Cookie" not in stub.asked[1].headers
