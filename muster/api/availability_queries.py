"""Which window of availability is asked for, and in which steps."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import chain
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from collector.availability import Window
from muster.api.queries import Instant, Query, bad_query

DAY_S = 86_400

DEFAULT_WINDOW_S = DAY_S
"""What is asked for without a `from`."""

DEFAULT_BUCKETS = 200
"""Most buckets without a `step`: a bar of two pixels each on a small screen."""

MAX_BUCKETS = 1000
"""Most buckets in one answer: some 200 kB of JSON."""

MIN_STEP_S = 60
"""A cluster is asked twice a minute: shorter buckets would show the schedule."""

MAX_STEP_S = 3650 * DAY_S
"""The longest retention."""

GRAIN_S = 30
"""A window that ends now ends at a whole multiple of this: all who ask meanwhile ask for the same report."""

TOLERANCE_S = 60.0
"""How wrong the clock of a client may be that says "now" or "90 days ago" itself. `to` is cut at now."""

_STEPS = (60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200)
"""Steps that people can read, up to half a day; above come whole days."""

_STEP = re.compile(r"(\d{1,9})([smhd]?)", re.ASCII)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": DAY_S}


def _step(text: str) -> int:
    match = _STEP.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:64]!r} is no length of time; write 300 (seconds), 5m, 1h or 1d")
    seconds = int(match[1]) * _UNITS[match[2]]
    if not MIN_STEP_S <= seconds <= MAX_STEP_S:
        raise ValueError(f"has to be from {MIN_STEP_S} s to {MAX_STEP_S // DAY_S}d")
    return seconds


Step = Annotated[int, BeforeValidator(_step), WithJsonSchema({"type": "string", "pattern": f"^{_STEP.pattern}$"})]
"""A length of time in seconds, or with its unit."""


class AvailabilityQuery(Query):
    """Which window, and in which steps."""

    begin: Annotated[Instant | None, Field(alias="from")] = None
    """Where the window begins; within the retention. Default: a day before its end."""
    to: Instant | None = None
    """Where it ends. Default: now."""
    step: Step | None = None
    """Length of a bucket: 300 (seconds), 5m, 1h, 1d. Default: one that makes at most 200."""

    def window(self, now: float, oldest: float) -> Window:
        """What is meant at `now`, with history since `oldest`. Raises `ProblemError`."""
        if self.to is not None and self.to.timestamp() > now + TOLERANCE_S:
            bad_query("to", f"in the future: it is {_text(now)}. Leave it out for now")
        end = now // GRAIN_S * GRAIN_S if self.to is None else min(now, self.to.timestamp())
        begin = end - DEFAULT_WINDOW_S if self.begin is None else self.begin.timestamp()
        if begin >= now:
            bad_query("from", f"in the future: it is {_text(now)}")
        if begin < oldest - TOLERANCE_S:
            which = "from" if self.begin is not None else "to" if self.to is not None and end < oldest else "from"
            bad_query(which, f"beyond the retention: history is kept since {_text(oldest)}. Begin there, or later")
        if end - begin < MIN_STEP_S:
            bad_query("from", f"has to be at least {MIN_STEP_S} s before `to`, which is {_text(end)}")
        window = Window(begin, end, self.step or readable_step(end - begin))
        if window.count > MAX_BUCKETS:
            least_s = readable_step(end - begin, MAX_BUCKETS)
            bad_query("step", f"makes {window.count} buckets; {MAX_BUCKETS} are possible. Take {least_s} or more")
        return window


def readable_step(length_s: float, buckets: int = DEFAULT_BUCKETS) -> int:
    """The least step that people can read and that makes no more buckets, wherever the window begins."""
    least_s = length_s / (buckets - 1)  # the grid may cut one more
    days = (number * DAY_S for number in range(1, MAX_STEP_S // DAY_S + 1))
    return next(step for step in chain(_STEPS, days) if step >= least_s)


def _text(moment: float) -> str:
    return datetime.fromtimestamp(round(moment), UTC).isoformat().replace("+00:00", "Z")
