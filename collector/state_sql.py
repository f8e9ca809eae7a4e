"""The statements of check states, once for clusters and once for pairs: two tables with one text.

A pair's states are in a table of their own, since their key is longer and they go with the assignment; how they are
compared, swapped and fenced is the same to the letter. `queries.sql` has that text, with `{…}` where they differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_CLUSTERS = {
    "{states}": "check_states",
    "{key}": "cluster_id, check_name",
    "{s.key}": "s.cluster_id, s.check_name",
    "{c.key}": "c.cluster_id, c.check_name",
    "{o.key}": "o.cluster_id, o.check_name",
    "{values}": "$1::uuid, $2::text",
    "{living}": "clusters l ON l.id = s.cluster_id AND l.gone_at IS NULL",
    "{hold}": "",
}
_PAIRS = {
    "{states}": "pair_states",
    "{key}": "cluster_id, check_name, location_id",
    "{s.key}": "s.cluster_id, s.check_name, s.location_id",
    "{c.key}": "c.cluster_id, c.check_name, c.location_id",
    "{o.key}": "o.cluster_id, o.check_name, o.location_id",
    "{values}": "$1::uuid, $2::text, $3::uuid",
    "{living}": (
        "clusters l ON l.id = s.cluster_id AND l.gone_at IS NULL "
        "JOIN assignments a ON a.cluster_id = s.cluster_id AND a.location_id = s.location_id"
    ),
    "{hold}": "FOR KEY SHARE OF a",  # else the assignment could go before its states come
}


@dataclass(frozen=True, slots=True)
class StateSql:
    """Of one table."""

    load_all: str
    load_one: str
    save: str
    commit: str


def of_clusters(queries: Mapping[str, str]) -> StateSql:
    """The statements about clusters themselves."""
    return _filled(queries, _CLUSTERS)


def of_pairs(queries: Mapping[str, str]) -> StateSql:
    """Those about pairs; where there are three parts of a key, the location is the last."""
    return _filled(queries, _PAIRS)


def _filled(queries: Mapping[str, str], words: Mapping[str, str]) -> StateSql:
    def filled(name: str) -> str:
        text = queries.get(name, "")
        for placeholder, word in words.items():
            text = text.replace(placeholder, word)
        return text

    return StateSql(filled("load_states"), filled("load_state"), filled("save_states"), filled("commit_transition"))
