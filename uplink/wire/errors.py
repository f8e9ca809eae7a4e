"""What is wrong with something that came over the wire."""

from __future__ import annotations


class WireError(ValueError):
    """It can't be what it should be. The text names what and the rule; it quotes nothing of what came."""


class TooLarge(WireError):  # noqa: N818 - what it is
    """It is longer than its bound, or grows beyond it when it is unpacked."""
