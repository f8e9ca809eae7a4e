"""The command `muster`."""

from __future__ import annotations


def main() -> None:
    """Entry point of the distribution."""
    from muster.cli.app import app  # noqa: PLC0415 - whoever imports a module of this package needs no command line
    from muster.cli.unread import quiet_when_unread  # noqa: PLC0415 - the same

    with quiet_when_unread():
        app()
