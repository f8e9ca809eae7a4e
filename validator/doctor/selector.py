"""Kubernetes label selectors, as webhooks have them. Pure.

Source: `LabelSelector` of the API reference. An operator that is not known matches nothing and says so by `knows`:
a selector that can't be judged must not make a finding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Expression:
    """One of `matchExpressions`."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """As the API server decides: `NotIn` is also true where the label is absent."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels
            case _:
                return False


@dataclass(frozen=True, slots=True)
class Selector:
    """All of it has to match; an empty one matches everything."""

    labels: Mapping[str, str] = field(default_factory=dict)
    expressions: tuple[Expression, ...] = ()

    @property
    def knows(self) -> bool:
        """Whether every operator is known."""
        return all(each.operator in {"In", "NotIn", "Exists", "DoesNotExist"} for each in self.expressions)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is chosen."""
        return all(labels.get(key) == value for key, value in self.labels.items()) and all(
            each.matches(labels) for each in self.expressions
        )
