"""Several validations at once, and what each of them brought."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed

from pydantic import BaseModel, ConfigDict, Field

from muster.api import schemas
from muster.cli.client import Client
from muster.cli.errors import Refused
from muster.cli.progress import progress_bar, waiting
from muster.cli.render.health import BROKEN
from muster.escape import escaped

AT_ONCE = 8
"""The service bounds what it asks by itself; more connections would only wait there."""


class Validated(BaseModel):
    """How one validation ended."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    asked: str
    """The name or the id by which it was asked for."""
    name: str
    ended: str
    """`done`, `late`, or the type of the problem with which the service refused."""
    health: str | None = None
    """The cluster's, which one answer need not have changed."""
    reason: str | None = None
    message: str = ""
    joined: bool = False
    """Somebody else's validation was under way, and this is its answer."""
    took_s: float
    checks: tuple[schemas.Check, ...] = ()
    refused: Refused | None = Field(None, exclude=True)

    @property
    def worst(self) -> schemas.Check | None:
        """The first check whose newest answer is bad, whatever its health is still."""
        return next((check for check in self.checks if _failed(check)), None)

    @property
    def is_broken(self) -> bool:
        """Whether the newest answers, or the health, are bad; or there is no answer."""
        return self.ended != "done" or self.health in BROKEN or self.worst is not None


def _failed(check: schemas.Check) -> bool:
    return check.health in BROKEN if check.answer is None else check.answer.outcome in {"fail", "unknown"}


def validate_all(client: Client, wanted: Mapping[str, str], timeout_s: float) -> list[Validated]:
    """All of them, in the order given: names by what to ask for. Raises what the client raises if it holds for all."""
    if len(wanted) == 1:
        ((key, name),) = wanted.items()
        with waiting(f"Asking {escaped(name)}"):
            validated = validate_one(client, key, name, timeout_s)
        if validated.refused is not None:
            raise validated.refused
        return [validated]
    with ThreadPoolExecutor(AT_ONCE, "validate") as pool, progress_bar() as bar:
        task = bar.add_task("Validating", total=len(wanted))
        asking: list[Future[Validated]] = []
        try:
            asking += [pool.submit(validate_one, client, key, name, timeout_s) for key, name in wanted.items()]
            for future in as_completed(asking):
                future.result()  # the first that holds for all ends it
                bar.advance(task)
        except BaseException:  # Ctrl-C too: nobody waits for the threads' answers any more
            pool.shutdown(wait=False, cancel_futures=True)
            client.transport.close()
            raise
    return [future.result() for future in asking]


def validate_one(client: Client, asked: str, name: str, timeout_s: float) -> Validated:
    """One. What the service refuses about this cluster alone is a result."""
    started = time.monotonic()
    checks: list[schemas.Check] = []
    joined = False
    try:
        for event in client.validate(asked, timeout_s):
            joined |= event.joined
            if event.check is not None:
                checks.append(event.check)
        # the client ends with `done` or `late`, or raises
        return Validated(
            asked=asked,
            name=name,
            ended=event.event,
            health=event.health,
            reason=event.reason,
            message=event.message,
            joined=joined,
            took_s=round(time.monotonic() - started, 3),
            checks=tuple(checks),
        )
    except Refused as refused:
        if refused.problem.status in {401, 403} or refused.kind == "not-leading":  # so it would be for all
            raise
        took_s = round(time.monotonic() - started, 3)
        return Validated(
            asked=asked,
            name=name,
            ended=refused.kind,
            message=refused.problem.detail,
            took_s=took_s,
            refused=refused,
        )
