"""To which addresses a probe may connect."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validator.net.failure import ProbeFailure
from validator.net.policy import METADATA_ADDRESSES, ConnectPolicy, Destination
from validator.reasons import Reason

POLICY = ConnectPolicy()
CLOUD = (Destination.STORAGE, Destination.TOKENS)

REFUSED = [
    "169.254.169.254",
    "169.254.170.23",
    "169.254.1.1",
    "100.100.100.200",
    "168.63.129.16",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "255.255.255.255",
    "::ffff:169.254.169.254",
    "::ffff:127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "not an address",
    "",
]


@pytest.mark.parametrize("destination", CLOUD)
@pytest.mark.parametrize("address", REFUSED)
def test_no_token_goes_there(address: str, destination: Destination) -> None:
    assert POLICY.refusal(address, destination)
    with pytest.raises(ProbeFailure) as caught:
        POLICY.check("blob.example", address, destination)
    assert caught.value.reason is Reason.ENDPOINT_REFUSED
    assert "blob.example" in caught.value.message


@pytest.mark.parametrize("address", ["20.60.1.1", "10.0.0.4", "192.168.1.4", "2603:1030::1", "fd12::4"])
def test_public_and_private_endpoints_are_allowed(address: str) -> None:
    for destination in CLOUD:
        assert POLICY.refusal(address, destination) is None


def test_metadata_services_are_for_metadata_only_and_metadata_for_them_only() -> None:
    for service in METADATA_ADDRESSES:
        assert POLICY.refusal(str(service), Destination.METADATA) is None
    for address in ("169.254.1.1", "10.0.0.1", "20.60.1.1", "127.0.0.1"):
        assert POLICY.refusal(address, Destination.METADATA)


def test_loopback_is_a_setting_and_nothing_else_comes_with_it() -> None:
    tests = ConnectPolicy(allow_loopback=True)
    assert tests.refusal("127.0.0.1", Destination.STORAGE) is None
    assert tests.refusal("::1", Destination.METADATA) is None
    assert tests.refusal("169.254.169.254", Destination.STORAGE)
    assert tests.refusal("0.0.0.0", Destination.STORAGE)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_ipv6_clothes_is_judged_as_itself(address: ipaddress.IPv4Address) -> None:
    clothes = [f"::ffff:{address}", str(ipaddress.IPv6Address((0x64FF9B << 96) | int(address)))]
    for dressed in clothes:
        for destination in Destination:
            bare, worn = (POLICY.refusal(str(a), destination) for a in (address, dressed))
            assert (bare is None) == (worn is None)
