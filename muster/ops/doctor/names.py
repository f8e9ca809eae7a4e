"""Whether the clusters' names have addresses, as the service would ask for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from muster.ops.doctor.finding import Finding, ok, problem, warning
from validator.discovery.source import Source
from validator.net.failure import ProbeFailure
from validator.net.resolver import Resolver, is_literal

MAX_NAMES = 50
"""Asked for: whether name servers answer is what matters here; each cluster's own name is the service's to check."""
AT_ONCE = 10
DEADLINE_S = 5.0
"""For one name, as long as a probe's stage may take."""
READING_S = 5.0
"""For a source's first reading."""


@dataclass(frozen=True, slots=True)
class NamesSeen:
    """Of the configured sources' clusters."""

    clusters: int
    problems: tuple[str, ...]
    """Of sources that can't be read."""
    asked: int
    failures: tuple[str, ...]
    """A sentence a name."""


async def look(sources: Sequence[Source], resolver: Resolver) -> NamesSeen:
    """Read each source once, and ask for the names in it."""
    hosts: dict[str, None] = {}
    clusters, problems = 0, []
    for source in sources:
        readings = source.readings()
        try:
            async with asyncio.timeout(READING_S):
                reading = await anext(aiter(readings))
        except (TimeoutError, StopAsyncIteration):
            problems.append(f"{source.name}: not read within {READING_S:.0f} s")
            continue
        finally:
            await readings.aclose()  # type: ignore[attr-defined] # every source's is a generator
        clusters += len(reading.sightings)
        problems += [f"{found.where}: {found.message}" for found in reading.problems]
        hosts.update(dict.fromkeys(sighting.endpoint.host for sighting in reading.sightings))
    names = [host for host in hosts if not is_literal(host)][:MAX_NAMES]
    return NamesSeen(clusters, tuple(problems), len(names), tuple(await _ask(names, resolver)))


async def _ask(names: Iterable[str], resolver: Resolver) -> list[str]:
    slots = asyncio.Semaphore(AT_ONCE)

    async def ask(name: str) -> str:
        async with slots:
            try:
                await resolver.resolve(name, DEADLINE_S)
            except ProbeFailure as failure:
                return failure.message
        return ""

    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(ask(name), name=f"resolve:{name}") for name in names]
    return [said for task in asked if (said := task.result())]


def judge_sources(seen: NamesSeen, configured: int) -> Finding:
    """Pure. `configured` is the number of sources."""
    if not configured:
        return warning("sources", "no source of clusters", "Name one: --kubeconfig, --static or --in-cluster.")
    if seen.problems:
        more = f" and {len(seen.problems) - 1} more" if len(seen.problems) > 1 else ""
        return warning("sources", f"{seen.problems[0]}{more}", "Mend what is named; `muster status` lists all of it.")
    return ok("sources", f"{seen.clusters:,} clusters in {configured} {'source' if configured == 1 else 'sources'}")


def judge_dns(seen: NamesSeen) -> Finding:
    """Pure. One dead name is that cluster's; if all are, it is the name servers."""
    if not seen.asked:
        return ok("dns", "no cluster has a name that would have to be asked for")
    if not seen.failures:
        return ok("dns", f"{seen.asked} of {seen.asked} names have addresses")
    said = f"{seen.asked - len(seen.failures)} of {seen.asked} names have addresses; {seen.failures[0]}"
    if len(seen.failures) == seen.asked:
        return problem("dns", said, "See the name servers in /etc/resolv.conf, and whether this machine reaches them.")
    return warning("dns", said, "Correct the names, or their records; the rest is asked for well.")
