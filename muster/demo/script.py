"""The demo's plot: which clusters there are, how they are at first, and what happens to them, all from a seed.

Pure: it knows no clock and no socket. The same seed tells the same story.

At first one cluster each is an *exhibit* of every behaviour, and stays so: every reason can be seen at any time. The
rest of the dead recover one by one while others fall ill, so that the share of dead ones stays as asked for.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from muster.demo.behaviours import BEHAVIOURS, Behaviour
from validator.reasons import REASONS, Health

_TENANTS = ("alder", "birch", "cedar", "dune", "ember", "fjord", "grove", "heron", "iris", "juniper")
_REGIONS = (
    ("azure", "westeurope"),
    ("azure", "northeurope"),
    ("azure", "germanywestcentral"),
    ("azure", "chinanorth3"),
    ("aws", "eu-central-1"),
    ("aws", "us-east-1"),
    ("gcp", "europe-west3"),
)
_SEEDS_A_REGION = 2

_COMMON_TROUBLES = {
    "full-backlog": 6,
    "refuse": 4,
    "black-hole-accept": 3,
    "tls-hang": 2,
    "no-answer": 3,
    "not-ready": 4,
    "unavailable": 3,
    "frozen-etcd": 2,
    "unauthorized": 2,
    "expired": 1,
}
"""Weights of what befalls a cluster after the exhibits; an operator's guess, not a measurement."""

_SEED_OUTAGE_FIRST_S = 60.0
_SEED_OUTAGE_EVERY_S = 240.0
_SEED_OUTAGE_LASTS_S = 45.0


class Act(Enum):
    """What happens to a cluster."""

    BEHAVE = "behaves otherwise"
    ROTATE = "its clients get the next token, and it is well again"
    JOIN = "joins the fleet"
    LEAVE = "leaves the fleet"


@dataclass(frozen=True, slots=True)
class Member:
    """A cluster as the plot knows it."""

    name: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that happens, `at_s` seconds after the start."""

    at_s: float
    act: Act
    member: Member
    behaviour: str = ""
    """For BEHAVE: the new one."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The whole plot."""

    members: tuple[Member, ...]
    initial: Mapping[str, str]
    """Behaviour of each member at the start."""
    changes: Iterator[Change]
    """In order of `at_s`; never ends."""


def timeline(seed: int, clusters: int, dead: float) -> Timeline:
    """The plot for this many clusters, of which the share `dead` (0 to 1) is unreachable or unhealthy at any time."""
    rng = random.Random(seed)  # noqa: S311 - a plot, not a secret
    cast = _cast(rng)
    members = tuple(itertools.islice(cast, clusters))
    initial, exhibits = _first_scene(rng, members, dead)
    return Timeline(members, dict(initial), _Plot(rng, cast, members, initial, exhibits).changes())


def _cast(rng: random.Random) -> Iterator[Member]:
    """Members without end: each tenant in a few regions, numbered there from 01."""
    numbers: dict[tuple[str, str], int] = {}
    while True:
        tenant, (cloud, region) = rng.choice(_TENANTS), rng.choice(_REGIONS)
        number = numbers[tenant, region] = numbers.get((tenant, region), 0) + 1
        yield Member(
            f"{tenant}-{region}-{number:02d}",
            {
                "tenant": tenant,
                "cloud": cloud,
                "region": region,
                "project": f"garden-{tenant}",
                "seed": f"{cloud}-{region}-s{number % _SEEDS_A_REGION + 1}",
            },
        )


def _first_scene(rng: random.Random, members: Sequence[Member], dead: float) -> tuple[dict[str, str], set[str]]:
    """Behaviour by name, and who of them is an exhibit."""
    names = [member.name for member in members]
    rng.shuffle(names)
    count = min(len(names), round(len(names) * dead))
    bad = _one_reason_each_first(rng, [row for row in BEHAVIOURS.values() if _kills(row)])[:count]
    odd = [row.name for row in BEHAVIOURS.values() if row.name != "healthy" and not _kills(row)]
    rng.shuffle(odd)
    odd = odd[: (len(names) - count) // 10]
    exhibits = dict(zip(names, [*bad, *odd], strict=False))
    others = names[len(exhibits) :]
    ill = {name: _trouble(rng) for name in others[: count - len(bad)]}
    return dict.fromkeys(names, "healthy") | exhibits | ill, set(exhibits)


def _kills(row: Behaviour) -> bool:
    return row.expect is not None and REASONS[row.expect].health in (Health.UNREACHABLE, Health.UNHEALTHY)


def _one_reason_each_first(rng: random.Random, rows: list[Behaviour]) -> list[str]:
    """Names in an order that shows as many reasons as possible, however few there is room for."""
    rng.shuffle(rows)
    seen: dict[object, int] = {}
    order: list[tuple[int, str]] = []
    for row in rows:
        seen[row.expect] = seen.get(row.expect, 0) + 1
        order.append((seen[row.expect], row.name))
    return [name for _, name in sorted(order, key=lambda pair: pair[0])]


def _trouble(rng: random.Random) -> str:
    return rng.choices(list(_COMMON_TROUBLES), weights=list(_COMMON_TROUBLES.values()))[0]


_Event = Callable[[float], Iterator[Change]]


class _Plot:
    """The state that the story is in, and the events to come."""

    def __init__(
        self,
        rng: random.Random,
        cast: Iterator[Member],
        members: Sequence[Member],
        behaviours: dict[str, str],
        exhibits: set[str],
    ) -> None:
        self._rng = rng
        self._cast = cast
        self._size = len(members)
        self._members = {member.name: member for member in members}
        self._behaviours = behaviours
        self._agenda: list[tuple[float, int, _Event]] = []
        self._tie = itertools.count()
        for name, behaviour in behaviours.items():
            if behaviour != "healthy" and name not in exhibits:
                self._plan(rng.uniform(10.0, 120.0), self._recovers(name, replaced=True))
        self._plan(4.0, self._blip)
        self._plan(15.0, self._rotation)
        self._plan(30.0, self._join)
        self._plan(45.0, self._leave)
        self._plan(_SEED_OUTAGE_FIRST_S, self._seed_outage)

    def changes(self) -> Iterator[Change]:
        while True:
            at_s, _, event = heapq.heappop(self._agenda)
            yield from event(at_s)

    def _plan(self, at_s: float, event: _Event) -> None:
        heapq.heappush(self._agenda, (round(at_s, 3), next(self._tie), event))

    def _well(self) -> list[str]:
        return [name for name, behaviour in self._behaviours.items() if behaviour == "healthy"]

    def _behave(self, at_s: float, name: str, behaviour: str) -> Change:
        self._behaviours[name] = behaviour
        return Change(at_s, Act.BEHAVE, self._members[name], behaviour)

    # -- events: each yields what happens and plans what follows

    def _recovers(self, name: str, *, replaced: bool) -> _Event:
        def event(at_s: float) -> Iterator[Change]:
            yield self._behave(at_s, name, "healthy")
            if replaced:
                self._plan(at_s + self._rng.uniform(0.5, 5.0), self._falls_ill)

        return event

    def _falls_ill(self, at_s: float) -> Iterator[Change]:
        if well := self._well():
            name = self._rng.choice(well)
            yield self._behave(at_s, name, _trouble(self._rng))
            self._plan(at_s + self._rng.uniform(40.0, 150.0), self._recovers(name, replaced=True))
        else:
            self._plan(at_s + 5.0, self._falls_ill)

    def _blip(self, at_s: float) -> Iterator[Change]:
        if well := self._well():
            name = self._rng.choice(well)
            yield self._behave(at_s, name, _trouble(self._rng))
            self._plan(at_s + self._rng.uniform(10.0, 40.0), self._recovers(name, replaced=False))
        self._plan(at_s + self._rng.uniform(3.0, 8.0), self._blip)

    def _rotation(self, at_s: float) -> Iterator[Change]:
        if well := self._well():
            name = self._rng.choice(well)
            yield self._behave(at_s, name, "old-token-rejected")
            self._plan(at_s + self._rng.uniform(5.0, 15.0), self._token_arrives(name))
        self._plan(at_s + self._rng.uniform(30.0, 60.0), self._rotation)

    def _token_arrives(self, name: str) -> _Event:
        def event(at_s: float) -> Iterator[Change]:
            self._behaviours[name] = "healthy"
            yield Change(at_s, Act.ROTATE, self._members[name])

        return event

    def _join(self, at_s: float) -> Iterator[Change]:
        if len(self._members) <= self._size:
            member = next(self._cast)
            self._members[member.name] = member
            self._behaviours[member.name] = "healthy"
            yield Change(at_s, Act.JOIN, member)
        self._plan(at_s + self._rng.uniform(30.0, 60.0), self._join)

    def _leave(self, at_s: float) -> Iterator[Change]:
        well = self._well()
        if well and len(self._members) >= self._size:
            name = self._rng.choice(well)
            del self._behaviours[name]
            yield Change(at_s, Act.LEAVE, self._members.pop(name))
        self._plan(at_s + self._rng.uniform(30.0, 60.0), self._leave)

    def _seed_outage(self, at_s: float) -> Iterator[Change]:
        """Every well cluster whose control plane runs on one Gardener seed goes dark at once, and comes back so."""
        if well := self._well():
            seed = self._members[self._rng.choice(well)].labels["seed"]
            for name in well:
                if self._members[name].labels["seed"] == seed:
                    yield self._behave(at_s, name, "full-backlog")
                    self._plan(at_s + _SEED_OUTAGE_LASTS_S, self._recovers(name, replaced=False))
        self._plan(at_s + _SEED_OUTAGE_EVERY_S, self._seed_outage)
