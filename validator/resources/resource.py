"""One backup location as a product in the cluster knows it. Immutable, and without secrets."""

from __future__ import annotations

from dataclasses import dataclass

from validator.locations import FieldProblem, Location, location_problems
from validator.model import Check
from validator.printable import printable
from validator.reasons import Reason


@dataclass(frozen=True, slots=True)
class LocationResource:
    """One `BackupStorageLocation` of Velero or `BackupLocation` of Stork: the fields on the allowlist, no other."""

    check: Check
    """`velero` or `stork`: whose it is."""
    namespace: str
    name: str
    place: Location | FieldProblem
    """Where it is, or the field that keeps one from knowing."""
    created_at: float | None = None
    state: str = ""
    """The product's own word; "" where it has none."""
    message: str = ""
    """The product's own, scrubbed."""
    said: Reason | None = None
    """The reason that the message holds."""
    validated_at: float | None = None
    """When the product last looked, by the cluster's clock."""
    frequency_s: float | None = None
    """How often it looks, where the resource says so; 0 = never again."""
    read_only: bool = False
    workload_identity: bool = False
    prefix: str = ""
    """Velero's directory in the bucket; a location of ours has none."""

    @property
    def kind(self) -> str:
        """What `kubectl get` calls it."""
        return "BackupStorageLocation" if self.check is Check.VELERO else "BackupLocation"

    @property
    def where(self) -> str:
        """`namespace/name`, for people."""
        return f"{printable(self.namespace)}/{printable(self.name)}"

    @property
    def problems(self) -> tuple[FieldProblem, ...]:
        """Why it can't be taken over as a location of ours; empty if it can."""
        return (self.place,) if isinstance(self.place, FieldProblem) else location_problems(self.place)

    @property
    def adoptable(self) -> Location | tuple[FieldProblem, ...]:
        """The location of ours that it would be, or why it can't be one."""
        return self.problems or self.place  # type: ignore[return-value] # without problems it is a Location
