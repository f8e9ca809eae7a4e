"""Names against a real name server on loopback: addresses, refusals, silence, and names that are none."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from muster.demo.dns import LOOPBACK, NameServer, Records, Trouble, name_server
from tests.support.loops import on_both_loops
from validator.net.failure import ProbeFailure
from validator.net.resolver import MAX_ADDRESSES, CaresResolver, is_literal
from validator.reasons import Reason, Stage

V4, V6 = "192.0.2.7", "2001:db8::7"
RECORDS: Records = {
    "both.example": (V4, V6),
    "v4.example": (V4,),
    "v6.example": (V6,),
    "none.example": (),
    "many.example": tuple(f"192.0.2.{number}" for number in range(1, 31)),
    "servfail.example": Trouble.SERVFAIL,
    "refused.example": Trouble.REFUSED,
    "hang.example": Trouble.HANG,
}


@asynccontextmanager
async def resolving(records: Records = RECORDS) -> AsyncIterator[tuple[CaresResolver, NameServer]]:
    async with name_server(records) as server:
        resolver = CaresResolver([LOOPBACK], server.port)
        try:
            yield resolver, server
        finally:
            await resolver.close()


async def failure(resolver: CaresResolver, host: str, deadline_s: float = 3.0) -> ProbeFailure:
    with pytest.raises(ProbeFailure) as caught:
        await resolver.resolve(host, deadline_s)
    assert caught.value.stage is Stage.DNS
    assert caught.value.unanswered
    return caught.value


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.0.2.1", True),
        ("::1", True),
        ("2001:db8::1", True),
        ("api.example", False),
        ("[::1]", False),
        ("1.2", False),
    ],
)
def test_literals_are_told_from_names(host: str, expected: object) -> None:
    assert is_literal(host) is expected


async def test_a_change_is_seen_when_the_ttl_is_over() -> None:
    async with resolving() as (resolver, server):
        assert await resolver.resolve("v4.example", 3.0) == (V4,)
        server.records = {"v4.example": ("192.0.2.8",)}
        async with asyncio.timeout(5.0):
            while await resolver.resolve("v4.example", 3.0) == (V4,):  # noqa: ASYNC110 - c-ares tells nobody
                await asyncio.sleep(0.1)
        assert await resolver.resolve("v4.example", 3.0) == ("192.0.2.8",)


@on_both_loops
class TestResolver:
    async def test_a_literal_asks_nobody(self) -> None:
        async with resolving() as (resolver, server):
            assert await resolver.resolve("192.0.2.1", 1.0) == ("192.0.2.1",)
            assert await resolver.resolve("2001:db8::1", 1.0) == ("2001:db8::1",)
            assert server.asked == []

    async def test_both_families_are_asked_for_and_given(self) -> None:
        async with resolving() as (resolver, server):
            assert set(await resolver.resolve("both.example", 3.0)) == {V4, V6}
            assert server.asked == ["both.example", "both.example"]
            assert await resolver.resolve("v4.example", 3.0) == (V4,)
            assert await resolver.resolve("v6.example", 3.0) == (V6,)

    async def test_more_addresses_than_anybody_needs_are_cut_off(self) -> None:
        async with resolving() as (resolver, _):
            assert len(await resolver.resolve("many.example", 3.0)) == MAX_ADDRESSES

    @pytest.mark.parametrize(
        ("host", "expected"),
        [
            ("missing.example", Reason.DNS_NAME_NOT_FOUND),
            ("servfail.example", Reason.DNS_FAILURE),
            ("refused.example", Reason.DNS_FAILURE),
            ("none.example", Reason.DNS_FAILURE),
        ],
    )
    async def test_each_refusal_has_its_reason(self, host: str, expected: Reason) -> None:
        async with resolving() as (resolver, _):
            found = await failure(resolver, host)
        assert found.reason is expected
        assert found.message.startswith(f"{host}: ")

    @pytest.mark.parametrize(
        "host",
        [
            "a..example",
            ".",
            "",
            "a" * 64 + ".example",
            "a." * 200,
            "a b.example",
            "ä.example",
            "\ud800",
            "a\x00b",
            "é" * 80,
        ],
        ids=ascii,
    )
    async def test_a_name_that_is_none_is_a_dns_reason_and_no_defect(self, host: str) -> None:
        async with resolving() as (resolver, _):
            found = await failure(resolver, host)
        assert found.reason in (Reason.DNS_NAME_NOT_FOUND, Reason.DNS_FAILURE)
        assert len(found.message) < 800

    async def test_a_name_server_that_hangs_is_a_timeout_within_the_deadline(self) -> None:
        async with resolving() as (resolver, _):
            async with asyncio.timeout(1.0):
                found = await failure(resolver, "hang.example", 0.2)
        assert found.reason is Reason.DNS_TIMEOUT
        assert found.message == "no name server answered for hang.example within 0.2 s"

    async def test_a_hundred_that_hang_delay_no_other_name(self) -> None:
        async with resolving() as (resolver, _):
            hanging = [asyncio.create_task(resolver.resolve("hang.example", 10.0)) for _ in range(100)]
            await asyncio.sleep(0.05)
            async with asyncio.timeout(1.0):
                assert await resolver.resolve("v4.example", 3.0) == (V4,)
            for task in hanging:
                task.cancel()
            assert {type(error) for error in await asyncio.gather(*hanging, return_exceptions=True)} == {
                asyncio.CancelledError
            }

    async def test_where_no_name_server_listens_it_is_a_timeout_too(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
            unused.bind((LOOPBACK, 0))
            port = unused.getsockname()[1]
        resolver = CaresResolver([LOOPBACK], port)
        try:
            assert (await failure(resolver, "v4.example", 2.0)).reason is Reason.DNS_TIMEOUT
        finally:
            await resolver.close()

    async def test_closing_it_ends_what_is_still_asked(self) -> None:
        async with name_server(RECORDS) as server:
            resolver = CaresResolver([LOOPBACK], server.port)
            task = asyncio.create_task(resolver.resolve("hang.example", 30.0))
            await asyncio.sleep(0.05)
            await resolver.close()
            with pytest.raises(ProbeFailure):
                await asyncio.wait_for(task, 2.0)
            await resolver.close()
