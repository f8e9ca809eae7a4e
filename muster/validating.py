"""Validation jobs put together: who carries them out, and who hears of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from uuid import UUID

import collector
from collector.inventory import Inventory
from collector.location import Assignment
from collector.locations import Locations
from collector.recorder import Recorder
from collector.requests import Requests
from collector.validation import AGENT, LIMITS, Job, Limits
from collector.validation_carriers import AgentCarrier, Asks, HubCarrier, lane_by
from collector.validation_jobs import Nobody, ValidationJobs, Way
from collector.validation_store import ValidationStore
from muster.api.validation_documents import step_event
from muster.events import Events
from store.pool import Database
from store.sql import load_queries
from validator.clock import Clock
from validator.model import Pair
from validator.reasons import Reason

NO_WAY = (
    "Nobody asks about this pair: no source has named the cluster since this instance leads, and it has no agent. "
    "Install the agent there, or see `source_problems` of `muster status`."
)


def make_validations(
    db: Database,
    clock: Clock,
    inventory: Inventory,
    locations: Locations,
    recorder: Recorder,
    events: Events,
    *,
    pair_engine: Asks,
    requests: Requests,
    has_agent: Callable[[UUID], bool],
    knows: Callable[[Pair], bool],
    limits: Limits = LIMITS,
) -> ValidationJobs:
    """Those of one leader. `knows`: whether the hub itself asks about a pair. `limits` is a seam for tests."""
    queries = load_queries(Path(collector.__path__[0]) / "validations.sql")
    by_hub = HubCarrier(pair_engine, partial(lane_by, recorder.states))
    by_agent = AgentCarrier(requests)

    def choose(pair: Pair) -> Way | Nobody:
        if knows(pair):  # also where an agent is registered that has never reported
            return Way(by_hub, "")
        return Way(by_agent, AGENT) if has_agent(pair.cluster_id) else Nobody(Reason.NO_ASKER, NO_WAY)

    def on_step(job: Job) -> None:
        location = locations.known.get(job.pair.location_id)
        if location is not None:
            events.publish(step_event(job, location, inventory.clusters, events.position))

    return ValidationJobs(
        ValidationStore(db, queries), clock, partial(assignments_of, locations), choose, on_step, limits
    )


def assignments_of(locations: Locations, location_id: UUID) -> Mapping[UUID, Assignment]:
    """Who uses a location; nobody uses one that there is not."""
    location = locations.known.get(location_id)
    return {} if location is None else location.assignments
