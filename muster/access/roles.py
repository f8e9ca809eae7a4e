"""Three roles, each of which may do all that the one before it may."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What somebody may do."""

    VIEWER = "viewer"
    """Read everything but the audit log and the tokens."""
    OPERATOR = "operator"
    """Besides: validate, pause, resume."""
    ADMIN = "admin"
    """Besides: tokens, the audit log, log levels."""

    def may(self, needed: Role) -> bool:
        """Whether this role covers `needed`."""
        order = list(Role)
        return order.index(self) >= order.index(needed)
