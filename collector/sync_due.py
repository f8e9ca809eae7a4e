"""When the next listing of a location is due that nobody asks for. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from collector.backup_checks import HOUR_S, SyncSettings, period_s
from collector.sync import KeptInventory
from validator.health import CheckState

RETRY_S = HOUR_S
"""After one that failed, or told nothing of a pair."""

NOW = 0.0


def due_at(
    tried_at: float | None,
    direct: KeptInventory | None,
    backups: Sequence[CheckState | None],
    settings: SyncSettings,
) -> float:
    """As early as the pair wants it that waits longest.

    `tried_at`: the end of this asker's last listing. `direct`: the newest inventory, where the hub itself lists and has
    made it. `backups`: what is known of the pairs that the asker tells about.
    """
    not_before = NOW if tried_at is None else tried_at + RETRY_S
    if direct is not None:
        newest_at = direct.inventory.newest_at
        return max(not_before, direct.at + period_s(newest_at, direct.at, settings))
    known = [each for each in backups if each is not None]
    if not known or len(known) < len(backups):
        return not_before
    return max(not_before, min(each.received_at + _period_s(each, settings) for each in known))


def _period_s(state: CheckState, settings: SyncSettings) -> float:
    """As it was when it was judged, or as the interval is now."""
    period_h = state.evidence.get("period_h")
    wanted_s = float(period_h) * HOUR_S if isinstance(period_h, int | float) else settings.sync_interval_s
    return min(wanted_s, settings.sync_interval_s)
