"""Validation jobs of one location, asked for and waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from muster.api import schemas
from muster.cli.client import ASSIGNED_AT_ONCE, Client
from muster.cli.errors import NotReachable, Refused
from muster.cli.progress import progress_bar

LOOK_S = 0.5
"""How often it is looked how far they are. Asked for are those that have not ended: fewer each time."""

PATIENCE_S = 60.0
"""How long a service that restarts is waited for: the jobs are in its database."""

RUNNING = ("Pending", "InProgress")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one job stands."""

    job: schemas.ValidationJob
    joined: bool
    """It was under way already."""
    gone: bool = False
    """The cluster was unassigned meanwhile: there is nothing to know any more."""

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.job.state in RUNNING and not self.gone

    @property
    def is_valid(self) -> bool:
        """Whether it ended well."""
        return self.job.state == "Valid"


def ask(client: Client, name: str, clusters: Sequence[str]) -> tuple[str, list[Outcome]]:
    """Begin them, as many in a request as the service takes; the location's name, and how they stand."""
    outcomes: list[Outcome] = []
    location = name
    for begin in range(0, max(1, len(clusters)), ASSIGNED_AT_ONCE):
        asked = client.validate_location(name, list(clusters[begin : begin + ASSIGNED_AT_ONCE]))
        location = asked.location
        outcomes += [Outcome(job, job.joined) for job in asked.validations]
    return location, outcomes


def wait_for(
    client: Client,
    location: str,
    asked: list[Outcome],
    timeout_s: float,
    *,
    patience_s: float = PATIENCE_S,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Outcome]:
    """Until they have ended or the time is over, with a bar on a terminal. Survives a restart of the service."""
    mine = {each.job.id for each in asked}
    deadline = time.monotonic() + timeout_s
    away_until: float | None = None
    with progress_bar() as bar:
        task = bar.add_task(f"Validating {location}", total=len(mine))
        while True:
            try:
                left = mine & {job.id for job in client.validations(location, RUNNING)}
            except (NotReachable, Refused) as error:
                away_until = away_until or time.monotonic() + patience_s
                if (isinstance(error, Refused) and error.problem.status < 500) or time.monotonic() > away_until:
                    raise
            else:
                away_until = None
                bar.update(task, completed=len(mine) - len(left))
                if not left or time.monotonic() > deadline:
                    break
            sleep(LOOK_S)
    newest = {job.cluster_id: job for job in client.validations(location)}
    return [_outcome(each, newest.get(each.job.cluster_id)) for each in asked]


def _outcome(asked: Outcome, newest: schemas.ValidationJob | None) -> Outcome:
    """A newer job of the same pair says more than one that has lost its place to it."""
    return replace(asked, gone=True) if newest is None else replace(asked, job=newest)
