"""To which addresses a probe may connect, by the kind of what it looks for there. Pure.

A location's name comes from a person, and its address from whoever answers DNS: either may point a probe, which carries
a token, at a metadata service or at ourselves. So the decision is made on the *address*, at the moment of connecting
(`validator/net/sdk_session.py`): a check before would be answered by another DNS answer than the connect (rebinding).

Private addresses are allowed: private endpoints have them.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum

from validator.net.failure import ProbeFailure
from validator.reasons import Reason

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Destination(StrEnum):
    """What is looked for at an address."""

    STORAGE = "storage"
    """A provider's storage, or its management API."""
    TOKENS = "tokens"
    """Who exchanges the pod's token for the cloud's: Entra, AWS STS, Google STS. The same rules as for storage."""
    METADATA = "metadata"
    """The node's own metadata service or agent, where that is how a pod gets its identity."""


METADATA_ADDRESSES = frozenset(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254",  # AWS, Azure, Google
            "169.254.170.2",  # ECS task credentials
            "169.254.170.23",  # EKS Pod Identity
            "fd00:ec2::254",  # AWS, IPv6
            "fd00:ec2::23",  # EKS Pod Identity, IPv6
            "fd20:ce::254",  # Google, IPv6
            "100.100.100.200",  # Alibaba
            "168.63.129.16",  # Azure's wire server: a public address that every virtual machine there can reach
        ),
    )
)
"""Only these may be asked as METADATA, and only as METADATA."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class ConnectPolicy:
    """The decision. One object for a whole process; there is nothing to set but for tests."""

    allow_loopback: bool = False
    """For emulators on this machine. Never on in a hub or an agent: `localhost` is where their own ports are."""

    def refusal(self, address: str, destination: Destination) -> str | None:
        """Why not to connect there, in words for people; None where it may."""
        try:
            found = _embedded(ipaddress.ip_address(address.partition("%")[0]))
        except ValueError:
            return "is no IP address"
        if found.is_loopback:
            return None if self.allow_loopback else "is a loopback address"
        if destination is Destination.METADATA:
            return None if found in METADATA_ADDRESSES else "is no metadata service"
        if found in METADATA_ADDRESSES:
            return "is a metadata service"
        if found.is_link_local:
            return "is a link-local address"
        if found.is_unspecified or found.is_multicast or found.is_reserved:
            return "is not the address of a host"
        return None

    def check(self, host: str, address: str, destination: Destination) -> None:
        """Raises `ProbeFailure(ENDPOINT_REFUSED)` where a connection must not be made."""
        problem = self.refusal(address, destination)
        if problem is not None:
            at = "" if host == address else f" resolves to {address}, which"
            raise ProbeFailure(Reason.ENDPOINT_REFUSED, f"{host}{at} {problem}: not connected, no token was sent")


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for: mapped, NAT64, 6to4; else itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.sixtofour is not None:
        return address.sixtofour
    return address
