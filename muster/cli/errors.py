"""Why there is no answer. Without pydantic: completion needs these, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muster.api import schemas


class BadServer(ValueError):  # noqa: N818 - what is bad is what was given
    """The service's URL, or a file that is needed to ask it, makes no sense. `remedy` says what to do."""

    def __init__(self, message: str, remedy: str = "Correct --server or MUSTER_SERVER.") -> None:
        super().__init__(message)
        self.remedy = remedy


class NotReachable(Exception):  # noqa: N818 - a state of the world, not a defect
    """Nobody answers, or whoever answers is not Muster. `remedies` are better than the usual ones, if there are any."""

    def __init__(self, message: str, *remedies: str) -> None:
        super().__init__(message)
        self.remedies = remedies


class Lost(NotReachable):
    """The connection ended before the answer did: what was asked for may have been done."""


class Silent(NotReachable):
    """A stream has said nothing for as long as was waited."""


class Refused(Exception):  # noqa: N818 - the service's word
    """The service answered with a problem document."""

    def __init__(self, problem: schemas.Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem

    @property
    def kind(self) -> str:
        """The end of the problem's type, e.g. `cluster-not-found`."""
        return self.problem.type.rpartition("/")[2]
