"""A fleet of simulated clusters in one process: real TLS on real sockets of 127.0.0.0/8, a CA for each cluster.

Names, addresses, UIDs and tokens follow from the seed; keys and certificates don't (ECDSA keys from a known seed
would be a bad example). Linux only: elsewhere 127.0.0.2 needs an alias.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

from muster.demo.behaviours import Behaviour, behaviour_from
from muster.demo.connection import Connection
from muster.demo.doors import Doors
from muster.demo.pki import Authority, utc
from muster.demo.site import Seen, SimulatedCluster, Site
from muster.demo.source_file import write_static_source

FIRST_ADDRESS = ipaddress.IPv4Address("127.64.0.1")
"""Away from 127.0.0.1, where everything else on the machine listens."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""It becomes part of DNS names and file names."""

_STOP_TIMEOUT_S = 2.0
"""For the transports' own closing, which takes a turn or two of the loop."""


class SimulatedFleet:
    """Clusters that come, go and change while they are asked. Use as `async with`, or `start` and `stop`.

    `shared_listener` is for fleets of thousands: see `doors.py`. `now` gives seconds since the epoch, for certificates.
    """

    def __init__(
        self, *, seed: int = 0, shared_listener: bool = False, port: int = 0, now: Callable[[], float] = time.time
    ) -> None:
        self._seed = seed
        self._now = now
        self._sites: dict[str, Site] = {}
        self._by_address: dict[str, Site] = {}
        self._next_address = FIRST_ADDRESS
        self._doors = Doors(lambda: Connection(self._by_address.get), port=port, shared=shared_listener)
        self._changing = asyncio.Lock()
        """One change at a time: a door must not be opened and jammed at once. Held across no traffic."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # -- what there is

    @property
    def clusters(self) -> Mapping[str, SimulatedCluster]:
        """As of now, by name."""
        return {name: site.cluster for name, site in self._sites.items()}

    def cluster(self, name: str) -> SimulatedCluster:
        """As of now. Raises KeyError."""
        return self._site(name).cluster

    def seen(self, name: str) -> Seen:
        """Live counts of one cluster. Raises KeyError."""
        return self._site(name).seen

    def authority(self, name: str) -> Authority:
        """The CA of one cluster, for client certificates. Raises KeyError."""
        return self._site(name).authority

    def connected(self, name: str) -> int:
        """How many connections one cluster holds. Raises KeyError."""
        return len(self._site(name).connections)

    # -- what changes

    async def add(
        self,
        name: str,
        behaviour: str | Behaviour = "healthy",
        *,
        labels: Mapping[str, str] | None = None,
        address: str | None = None,
        family_of: str | None = None,
        by_name: bool = False,
        resources: Mapping[bytes, Callable[[float], bytes]] | None = None,
    ) -> SimulatedCluster:
        """Open one more cluster, at the next free address unless one is given.

        `family_of` names a cluster of which this is the other address family: same CA, UID, tokens, port and DNS name,
        for a resolver that knows its `dns_name` by both addresses, but with a behaviour of its own. `by_name` sends
        clients to that name. `resources` are what its API server has. Raises ValueError for a bad or taken name and an
        unknown behaviour, OSError where the address can't be had.
        """
        if name in self._sites or not _NAME.fullmatch(name):
            raise ValueError(f"{name!r}: a cluster's name is lower-case letters, digits and hyphens, and used once")
        behaviour = _behaviour(behaviour)
        async with self._changing:
            address = address or self._take_address()
            await self._doors.set(address, behaviour.door)
            site = self._new_site(name, address, behaviour, labels or {}, family_of, resources or {})
            site.cluster = replace(site.cluster, by_name=by_name)
            self._sites[name] = self._by_address[address] = site
        return site.cluster

    async def set_behaviour(self, name: str, behaviour: str | Behaviour) -> None:
        """Make a cluster behave otherwise from this moment on.

        Connections whose TLS or door would differ are reset; on the others the next request is answered the new way.
        Raises KeyError, ValueError.
        """
        site, behaviour = self._site(name), _behaviour(behaviour)
        async with self._changing:
            await self._doors.set(site.cluster.address, behaviour.door)
            site.behave(behaviour)

    async def remove(self, name: str) -> None:
        """Take a cluster away: nothing listens at its address any more. Raises KeyError."""
        site = self._site(name)
        async with self._changing:
            del self._sites[name]
            del self._by_address[site.cluster.address]
            self._doors.drop(site.cluster.address)
            site.reset_connections()

    def rotate_token(self, name: str) -> SimulatedCluster:
        """The next token of a cluster becomes the one in use; the old one is refused. Raises KeyError."""
        site = self._site(name)
        site.rotate(_token(random.Random(site.cluster.next_token)))  # noqa: S311 - a simulated token
        return site.cluster

    def warm(self) -> None:
        """Make every cluster's TLS context now (1 ms each), so that a benchmark's first round does not pay for it."""
        for site in self._sites.values():
            site.tls()

    def write_static_source(self, path: Path) -> None:
        """Write the fleet as the YAML that `StaticSource` reads, with a token file for each cluster beside it."""
        write_static_source(path, (site.cluster for site in self._sites.values()))

    async def stop(self) -> None:
        """Shut every door and reset every connection."""
        async with self._changing:
            self._doors.close()
            for site in self._sites.values():
                site.reset_connections()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_TIMEOUT_S):
                    while any(site.connections for site in self._sites.values()):  # noqa: ASYNC110 - two turns, no poll
                        await asyncio.sleep(0)
            self._sites.clear()
            self._by_address.clear()

    # -- inside

    def _site(self, name: str) -> Site:
        site = self._sites.get(name)
        if site is None:
            raise KeyError(f"no simulated cluster is called {name!r}")
        return site

    def _new_site(
        self,
        name: str,
        address: str,
        behaviour: Behaviour,
        labels: Mapping[str, str],
        family_of: str | None,
        resources: Mapping[bytes, Callable[[float], bytes]],
    ) -> Site:
        twin = None if family_of is None else self._site(family_of)
        rng = random.Random(f"{self._seed}/{family_of or name}")  # noqa: S311 - simulated identities
        cluster = SimulatedCluster(
            name=name,
            address=address,
            port=self._doors.port,
            ca_pem=(authority := twin.authority if twin else Authority(name, utc(self._now()))).pem,
            uid=str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            token=_token(rng),
            next_token=_token(rng),
            dns_name=f"api.{family_of or name}.example",
            behaviour=behaviour,
            labels=labels,
            resources=resources,
        )
        return Site(cluster, authority)

    def _take_address(self) -> str:
        address = self._next_address
        self._next_address += 1
        return str(address)


def _behaviour(behaviour: str | Behaviour) -> Behaviour:
    return behaviour_from(behaviour) if isinstance(behaviour, str) else behaviour


def _token(rng: random.Random) -> str:
    return f"simulated-{rng.getrandbits(160):040x}"
