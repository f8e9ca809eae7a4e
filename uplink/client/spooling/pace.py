"""How long to wait before trying again: pure, but for the dice."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from uplink.wire.retry import retry_after_s


@dataclass(frozen=True, slots=True)
class Pace:
    """Waiting times, in seconds."""

    base_s: float = 1.0
    """After the first failure; doubled with each that follows."""
    cap_s: float = 3600.0
    """The longest."""
    hold_s: float = 60.0
    """At least so long where a person has to do something: a wrong proxy, a certificate that is not accepted."""
    spread: float = 0.2
    """So much later than a server asks: of a thousand clients not all come back in the same second."""

    def backoff_s(self, failures: int, random: Random) -> float:
        """After so many failures in a row, of which there is at least one: a half to the whole of its time."""
        whole = min(self.cap_s, self.base_s * 2.0 ** min(failures - 1, 30))
        return whole * random.uniform(0.5, 1.0)

    def wait_s(self, header: str | None, failures: int, random: Random, now: float) -> float:
        """As the server asks (never more than a day, and later rather than sooner), or the backoff."""
        if header is None:
            return self.backoff_s(failures, random)
        return retry_after_s(header, now) * random.uniform(1.0, 1.0 + self.spread)

    def held_s(self, failures: int, random: Random) -> float:
        """Where somebody who is not the receiver has answered."""
        return max(self.hold_s, self.backoff_s(failures, random))
