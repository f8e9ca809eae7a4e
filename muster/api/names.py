"""Which cluster a name in a path stands for."""

from __future__ import annotations

from uuid import UUID

from muster.api.picture import Pictures
from muster.api.problems import Kind, ProblemError
from muster.api.suggest import closest
from muster.hub import Hub

MAX_NAME_CHARS = 1024
"""Longest cluster name that is looked up; a longer one is nobody's."""


class Names:
    """Looks clusters up."""

    def __init__(self, hub: Hub, pictures: Pictures) -> None:
        self._hub = hub
        self._pictures = pictures

    async def find(self, name: str) -> UUID:
        """The one cluster that a name stands for. Raises `ProblemError` if there is none, or more than one."""
        leading = self._pictures.leading()
        known = leading.inventory.clusters
        cluster_id = as_uuid(name)
        if cluster_id in known:
            return cluster_id
        found = self._hub.find(name[:MAX_NAME_CHARS])
        if len(found) == 1:
            return found[0]
        if found:
            listed = [
                {"id": str(i), "name": known[i].name, "source": known[i].source, "endpoint": known[i].endpoint}
                for i in found[:20]
            ]
            detail = f"{len(found)} clusters are called so. Ask for one of their ids."
            raise ProblemError(Kind.AMBIGUOUS_CLUSTER, detail, clusters=listed)
        suggestions = await closest(name, [each for c in known.values() for each in (c.name, *c.also_known_as)])
        hint = f"Did you mean {', '.join(suggestions)}?" if suggestions else "See /api/v1/clusters for those there are."
        raise ProblemError(Kind.CLUSTER_NOT_FOUND, f"Nothing is called {name[:100]!r}. {hint}", suggestions=suggestions)


def as_uuid(text: str) -> UUID | None:
    """The id, if the text is one in full."""
    try:
        return UUID(text) if len(text) == 36 else None
    except ValueError:
        return None
