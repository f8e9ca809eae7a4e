"""Whether our clock agrees with those that matter: the database's and the service's."""

from __future__ import annotations

from muster.ops.doctor.finding import Finding, ok, problem, warning

TELLING_S = 2.0
"""Below this it is the Date header's second and the way there."""
WRONG_S = 30.0
"""A certificate that is seconds old would be refused, and ages on screens would be wrong at a glance."""

_REMEDY = "Keep both machines' clocks with NTP (timedatectl, chronyc tracking)."


def judge(ahead_s: dict[str, float]) -> Finding:
    """Pure. `ahead_s`: by how much each other clock is ahead of ours."""
    if not ahead_s:
        return ok("clock", "nothing to compare with: neither the database nor the service answers")
    worst = max(abs(by) for by in ahead_s.values())
    seen = ", ".join(f"{whose} is {_said(by)}" for whose, by in ahead_s.items())
    if worst > WRONG_S:
        return problem("clock", seen, _REMEDY)
    if worst > TELLING_S:
        return warning("clock", seen, _REMEDY)
    return ok("clock", seen)


def _said(by_s: float) -> str:
    if abs(by_s) <= TELLING_S:
        return "in step with ours"
    return f"{abs(by_s):.0f} s {'ahead of' if by_s > 0 else 'behind'} ours"
