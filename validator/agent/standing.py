"""How it stands between agent and hub: edges go to the log, ticks do not."""

from __future__ import annotations

import structlog

_log = structlog.get_logger(__name__)


class Standing:
    """What works and what does not, by activity (`assignment`, `report`)."""

    def __init__(self) -> None:
        self._problems: dict[str, str] = {}
        self._worked: set[str] = set()

    def worked(self, what: str) -> None:
        """It did; says so the first time, and after a failure."""
        if self._problems.pop(what, None) is not None or what not in self._worked:
            self._worked.add(what)
            _log.info("the hub answers", asked=what)

    def failed(self, what: str, problem: str) -> None:
        """It did not; says so where it is news."""
        if self._problems.get(what) != problem:
            self._problems[what] = problem
            _log.warning("the hub does not take it", asked=what, problem=problem)

    @property
    def ready(self) -> bool:
        """Whether the hub has sent an assignment and taken the newest report."""
        return self._worked >= {"assignment", "report"} and not self._problems

    def __str__(self) -> str:
        if self.ready:
            return "ok"
        return "; ".join(f"{what}: {text}" for what, text in self._problems.items()) or "waiting for the hub"
