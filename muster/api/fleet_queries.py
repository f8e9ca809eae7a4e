"""What can be asked of the list of clusters."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from collector.fleet import ClusterView
from muster.api.cursor import MAX_CURSOR_CHARS
from muster.api.listing import Sort
from muster.api.queries import Query, one_of, some_of
from muster.api.selector import MAX_SELECTOR_CHARS, Selector, parse
from validator.model import Check
from validator.reasons import Health, Reason

MAX_CLUSTERS = 5000
"""Clusters on one page: some 3 MB of JSON."""


LabelSelector = Annotated[
    Selector,
    BeforeValidator(parse),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": MAX_SELECTOR_CHARS,
            "pattern": r"^[A-Za-z0-9._/=!<>(), \t\r\n-]*$",
            "examples": ["team=storage,env in (prod,stage),!legacy"],
        }
    ),
]


class ClustersQuery(Query):
    """Which clusters to list, and in which order."""

    health: Annotated[frozenset[Health], *some_of(Health)] = Field(default_factory=frozenset)
    """Only clusters of this health."""
    label: LabelSelector = Field(default_factory=Selector)
    """Only clusters whose labels match this selector, in the grammar of Kubernetes (`kubectl -l`)."""
    source: Annotated[str, Field(max_length=256)] = ""
    """Only clusters from this source."""
    reason: Annotated[frozenset[Reason], *some_of(Reason)] = Field(default_factory=frozenset)
    """Only clusters for which this reason decides."""
    check: Annotated[frozenset[Check], *some_of(Check)] = Field(default_factory=frozenset)
    """Only clusters for which this check decides."""
    name: Annotated[str, Field(max_length=256)] = ""
    """Only clusters with this text in one of their names; case does not matter."""
    sort: Annotated[Sort, *one_of(Sort)] = Sort.ATTENTION
    """With `-` the other way round. `attention`: worst first, news first; `name`; `since`: first those that are as they
    are for longest; `age`: freshest fact first; `last-success`: first those that answered longest ago. What a cluster
    has not got comes last either way."""
    limit: Annotated[int, Field(ge=1, le=MAX_CLUSTERS)] = 500
    """Clusters on a page."""
    after: Annotated[str, Field(min_length=1, max_length=MAX_CURSOR_CHARS)] | None = None
    """The `next` of the page before, of the same query."""

    def predicate(self) -> Callable[[ClusterView], bool] | None:
        """Every filter but that of health; None = there is none."""
        tests: list[Callable[[ClusterView], bool]] = []
        source, reasons, checks, label, needle = self.source, self.reason, self.check, self.label, self.name.casefold()
        if source:
            tests.append(lambda view: view.cluster.source == source)
        if reasons:
            tests.append(lambda view: view.rollup.reason in reasons)
        if checks:
            tests.append(lambda view: view.rollup.check in checks)
        if label.requirements:
            tests.append(lambda view: label.matches(view.cluster.labels))
        if needle:
            tests.append(lambda view: any(needle in name.casefold() for name in _names(view)))
        if len(tests) < 2:
            return tests[0] if tests else None
        return lambda view: all(test(view) for test in tests)

    def canonical(self) -> str:
        """The same text for the same list, however it was asked for, and for no other."""
        sets = [sorted(chosen) for chosen in (self.health, self.reason, self.check)]
        return json.dumps([*sets, str(self.label), self.source, self.name.casefold(), self.sort])


def _names(view: ClusterView) -> tuple[str, ...]:
    return (view.cluster.name, *view.cluster.also_known_as)
